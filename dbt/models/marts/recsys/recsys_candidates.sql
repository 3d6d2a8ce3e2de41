with

watched as (
    select
        watched.batch,
        watched.user_id,
        watched.item_id
    from {{ ref('recsys_watched') }} as watched
    inner join {{ source('recsys', 'batches') }} as batches
        on watched.batch = batches.batch
    where
        batches.mart = 'candidates'
        and watched.watches > 0
),

scored as (
    select
        watched.batch,
        watched.user_id,
        pairs.item_id,
        sum(pairs.likeness) as likeness
    from watched
    inner join {{ ref('recsys_pairs') }} as pairs
        on
            watched.batch = pairs.batch
            and watched.item_id = pairs.last_item_id
    group by watched.batch, watched.user_id, pairs.item_id
),

placed as (
    select
        scored.batch,
        scored.user_id,
        scored.item_id,
        row_number() over (
            partition by scored.batch, scored.user_id
            order by scored.likeness desc, scored.item_id asc
        ) as place
    from scored
    left join watched
        on
            scored.batch = watched.batch
            and scored.user_id = watched.user_id
            and scored.item_id = watched.item_id
    where watched.item_id is null
)

select
    user_id,
    {% for place in range(1, 41) %}
        cast(max(case when place = {{ place }} then item_id else 0 end) as bigint) as candidate_{{ place }},
    {% endfor %}
    batch
from placed
where place <= 40
group by user_id, batch
