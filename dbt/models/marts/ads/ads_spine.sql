select
    impressions.event_id,
    impressions.event_time,
    impressions.user_id,
    impressions.ad_id,
    impressions.site_id,
    impressions.device_id,
    impressions.os_id,
    impressions.label,
    impressions.label_time,
    impressions.event_day as batch
from {{ ref('ads_impressions') }} as impressions
inner join {{ source('ads', 'batches') }} as batches
    on impressions.event_day = batches.batch
where batches.mart = 'spine'
