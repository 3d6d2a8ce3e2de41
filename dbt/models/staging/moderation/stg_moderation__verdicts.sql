select
    verdict_id,
    post_id as event_id,
    reviewer_id,
    reviewed_at,
    case verdict when 'harmless' then 0 when 'spam' then 1 when 'abuse' then 2 end as label
from {{ source('moderation', 'verdicts') }}
