with

windows as (
    select
        batches.batch,
        ages.age,
        cast(batches.batch - interval '1 day' * ages.age as date) as event_day
    from {{ source('search', 'batches') }} as batches
    cross join {{ ages(30) }} as ages
    -- A day's clicks are all known, and its late showings delivered, when the next two are over.
    where
        batches.mart = 'document_profile'
        and ages.age >= 2
),

daily as (
    select
        document_id,
        event_day,
        count(*) as shown,
        sum(case when label > 0 then 1 else 0 end) as clicks,
        sum(case when label > 1 then 1 else 0 end) as read_long
    from {{ ref('search_impressions') }}
    group by document_id, event_day
)

select
    daily.document_id,
    windows.batch,
    cast(sum(daily.shown) as bigint) as known_28d,
    cast(sum(daily.clicks) as bigint) as clicks_28d,
    cast(sum(daily.read_long) as bigint) as read_28d
from daily
inner join windows on daily.event_day = windows.event_day
group by daily.document_id, windows.batch
