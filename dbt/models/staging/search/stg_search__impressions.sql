select
    impression_id as event_id,
    event_time,
    cast(event_time as date) as event_day,
    search_id,
    user_id,
    query,
    document_id,
    title,
    title_score,
    body_score,
    age_days,
    place
from {{ source('search', 'impressions') }}
-- What was only asked about, and shown nowhere, could not be clicked: it teaches nothing.
where place is not null
