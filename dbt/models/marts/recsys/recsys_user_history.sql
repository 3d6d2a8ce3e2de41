with

placed as (
    select
        watched.user_id,
        watched.batch,
        watched.item_id,
        row_number() over (
            partition by watched.batch, watched.user_id
            order by watched.last_watched desc, watched.item_id asc
        ) as place
    from {{ ref('recsys_watched') }} as watched
    inner join {{ source('recsys', 'batches') }} as batches
        on watched.batch = batches.batch
    where
        batches.mart = 'user_history'
        and watched.watches > 0
)

select
    user_id,
    cast(count(*) as bigint) as watched_28d,
    {% for place in range(1, 11) %}
        cast(max(case when place = {{ place }} then item_id else 0 end) as bigint) as recent_{{ place }},
    {% endfor %}
    batch
from placed
group by user_id, batch
