with

batches as (
    select distinct batch
    from {{ source('recsys', 'batches') }}
    where mart != 'spine'
),

windows as (
    select
        batches.batch,
        ages.age,
        cast(batches.batch - interval '1 day' * ages.age as date) as event_day
    from batches
    cross join {{ ages(30) }} as ages
    -- What was watched of a day's offers is all known, and its late offers delivered, when the next two are over.
    where ages.age >= 2
)

select
    windows.batch,
    impressions.user_id,
    impressions.item_id,
    count(*) as offers,
    sum(case when impressions.label > 0 then 1 else 0 end) as watches,
    max(case when impressions.label > 0 then impressions.event_time end) as last_watched
from {{ ref('recsys_impressions') }} as impressions
inner join windows on impressions.event_day = windows.event_day
group by windows.batch, impressions.user_id, impressions.item_id
