select
    impressions.event_id,
    impressions.event_time,
    impressions.request_id,
    impressions.user_id,
    impressions.item_id,
    impressions.topic,
    impressions.published_day,
    impressions.last_item_id,
    impressions.place,
    impressions.label,
    impressions.label_time,
    impressions.event_day as batch,
    impressions.label > 0 as watched
from {{ ref('recsys_impressions') }} as impressions
inner join {{ source('recsys', 'batches') }} as batches
    on impressions.event_day = batches.batch
where batches.mart = 'spine'
