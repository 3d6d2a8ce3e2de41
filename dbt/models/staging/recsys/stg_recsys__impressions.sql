select
    impression_id as event_id,
    event_time,
    cast(event_time as date) as event_day,
    request_id,
    user_id,
    item_id,
    topic,
    published_day,
    last_item_id,
    place
from {{ source('recsys', 'impressions') }}
