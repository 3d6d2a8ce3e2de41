select
    pairs.last_item_id,
    pairs.item_id,
    pairs.batch,
    pairs.together,
    pairs.likeness
from {{ ref('recsys_pairs') }} as pairs
inner join {{ source('recsys', 'batches') }} as batches
    on pairs.batch = batches.batch
where batches.mart = 'item_pairs'
