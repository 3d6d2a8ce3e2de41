with

windows as (
    select
        batches.batch,
        ages.age,
        cast(batches.batch - interval '1 day' * ages.age as date) as event_day
    from {{ source('fraud', 'batches') }} as batches
    cross join {{ ages(30) }} as ages
    where batches.mart = 'customer_profile'
),

daily as (
    select
        customer_id,
        event_day,
        count(*) as payments,
        sum(amount_cents) as amount_cents
    from {{ ref('stg_fraud__transactions') }}
    group by customer_id, event_day
)

select
    daily.customer_id,
    windows.batch,
    cast(sum(daily.payments) as bigint) as count_30d,
    cast(sum(daily.amount_cents) as bigint) as amount_cents_30d
from daily
inner join windows on daily.event_day = windows.event_day
group by daily.customer_id, windows.batch
