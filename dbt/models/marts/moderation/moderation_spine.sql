select
    judged.event_id,
    judged.event_time,
    judged.author_id,
    judged.community,
    judged.text,
    judged.label,
    judged.label_time,
    judged.event_day as batch,
    judged.label is not null as reviewed,
    coalesce(judged.label > 0, false) as harmful
from {{ ref('moderation_judged') }} as judged
inner join {{ source('moderation', 'batches') }} as batches
    on judged.event_day = batches.batch
where batches.mart = 'spine'
