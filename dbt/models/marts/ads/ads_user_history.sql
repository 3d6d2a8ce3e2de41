with

windows as (
    select
        batches.batch,
        ages.age,
        cast(batches.batch - interval '1 day' * ages.age as date) as event_day
    from {{ source('ads', 'batches') }} as batches
    cross join {{ ages(30) }} as ages
    -- A day's clicks are all known, and its late impressions delivered, when the next two are over.
    where
        batches.mart = 'user_history'
        and ages.age >= 2
),

daily as (
    select
        user_id,
        event_day,
        count(*) as impressions,
        sum(case when label then 1 else 0 end) as clicks
    from {{ ref('ads_impressions') }}
    group by user_id, event_day
)

select
    daily.user_id,
    windows.batch,
    cast(sum(daily.impressions) as bigint) as known_28d,
    cast(sum(daily.clicks) as bigint) as clicks_28d
from daily
inner join windows on daily.event_day = windows.event_day
group by daily.user_id, windows.batch
