select
    watched.item_id,
    watched.batch,
    cast(sum(watched.offers) as bigint) as offers_28d,
    cast(sum(watched.watches) as bigint) as watches_28d
from {{ ref('recsys_watched') }} as watched
inner join {{ source('recsys', 'batches') }} as batches
    on watched.batch = batches.batch
where batches.mart = 'item_profile'
group by watched.item_id, watched.batch
