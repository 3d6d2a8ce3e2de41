select
    watch_id,
    impression_id as event_id,
    watched_at,
    percent
from {{ source('recsys', 'watches') }}
