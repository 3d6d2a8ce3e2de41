with

watched as (
    select
        batch,
        user_id,
        item_id
    from {{ ref('recsys_watched') }}
    where watches > 0
),

pairs as (
    select
        one.batch,
        one.item_id as last_item_id,
        other.item_id,
        count(*) as together
    from watched as one
    inner join watched as other
        on
            one.batch = other.batch
            and one.user_id = other.user_id
            and one.item_id != other.item_id
    group by one.batch, one.item_id, other.item_id
),

counted as (
    select
        batch,
        item_id,
        count(*) as viewers
    from watched
    group by batch, item_id
),

compared as (
    select
        pairs.batch,
        pairs.last_item_id,
        pairs.item_id,
        pairs.together,
        -- Jaccard's, in millionths: of those who watched either, how many watched both.
        cast(floor(pairs.together * 1000000 / (one.viewers + other.viewers - pairs.together)) as bigint) as likeness
    from pairs
    inner join counted as one
        on pairs.batch = one.batch and pairs.last_item_id = one.item_id
    inner join counted as other
        on pairs.batch = other.batch and pairs.item_id = other.item_id
),

placed as (
    select
        *,
        row_number() over (
            partition by batch, last_item_id
            order by likeness desc, item_id asc
        ) as place
    from compared
)

select
    batch,
    last_item_id,
    item_id,
    cast(together as bigint) as together,
    likeness
from placed
where place <= 40
