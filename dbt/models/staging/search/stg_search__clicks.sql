select
    click_id,
    impression_id as event_id,
    clicked_at,
    seconds
from {{ source('search', 'clicks') }}
