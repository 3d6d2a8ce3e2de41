with

windows as (
    select
        batches.batch,
        ages.age,
        cast(
            batches.batch - interval '1 day' * (ages.age + {{ var('fraud_label_delay_days') }}) as date
        ) as event_day
    from {{ source('fraud', 'batches') }} as batches
    cross join {{ ages(30) }} as ages
    where batches.mart = 'terminal'
),

daily as (
    select
        terminal_id,
        event_day,
        count(*) as payments,
        sum(case when label then 1 else 0 end) as frauds
    from {{ ref('fraud_payments') }}
    group by terminal_id, event_day
)

select
    daily.terminal_id,
    windows.batch,
    cast(sum(case when windows.age < 1 then daily.payments else 0 end) as bigint) as count_1d,
    cast(sum(case when windows.age < 1 then daily.frauds else 0 end) as bigint) as frauds_1d,
    cast(sum(case when windows.age < 7 then daily.payments else 0 end) as bigint) as count_7d,
    cast(sum(case when windows.age < 7 then daily.frauds else 0 end) as bigint) as frauds_7d,
    cast(sum(case when windows.age < 30 then daily.payments else 0 end) as bigint) as count_30d,
    cast(sum(case when windows.age < 30 then daily.frauds else 0 end) as bigint) as frauds_30d
from daily
inner join windows on daily.event_day = windows.event_day
group by daily.terminal_id, windows.batch
