select
    click_id,
    impression_id as event_id,
    clicked_at
from {{ source('ads', 'clicks') }}
