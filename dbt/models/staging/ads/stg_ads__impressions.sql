select
    impression_id as event_id,
    event_time,
    cast(event_time as date) as event_day,
    user_id,
    ad_id,
    site_id,
    device_id,
    os_id
from {{ source('ads', 'impressions') }}
