with

windows as (
    select
        batches.batch,
        ages.age,
        cast(batches.batch - interval '1 day' * ages.age as date) as event_day
    from {{ source('fraud', 'batches') }} as batches
    cross join {{ ages(30) }} as ages
    where batches.mart = 'customer'
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
    {%- for days in [1, 7, 30] %}
    cast(sum(case when windows.age < {{ days }} then daily.payments else 0 end) as bigint) as count_{{ days }}d,
    cast(sum(case when windows.age < {{ days }} then daily.amount_cents else 0 end) as bigint)
        as amount_cents_{{ days }}d
    {%- if not loop.last %},{% endif %}
    {%- endfor %}
from daily
inner join windows on daily.event_day = windows.event_day
group by daily.customer_id, windows.batch
