select
    post_id as event_id,
    event_time,
    cast(event_time as date) as event_day,
    author_id,
    community,
    text
from {{ source('moderation', 'posts') }}
