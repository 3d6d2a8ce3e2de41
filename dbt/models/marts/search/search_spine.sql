select
    impressions.event_id,
    impressions.event_time,
    impressions.search_id,
    impressions.user_id,
    impressions.query,
    impressions.document_id,
    impressions.title,
    impressions.title_score,
    impressions.body_score,
    impressions.age_days,
    impressions.place,
    impressions.label,
    impressions.label_time,
    impressions.event_day as batch,
    impressions.label > 0 as clicked
from {{ ref('search_impressions') }} as impressions
inner join {{ source('search', 'batches') }} as batches
    on impressions.event_day = batches.batch
where batches.mart = 'spine'
