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
    {%- for days in [1, 7, 30] %}
    cast(sum(case when windows.age < {{ days }} then daily.payments else 0 end) as bigint) as count_{{ days }}d,
    cast(sum(case when windows.age < {{ days }} then daily.frauds else 0 end) as bigint) as frauds_{{ days }}d
    {%- if not loop.last %},{% endif %}
    {%- endfor %}
from daily
inner join windows on daily.event_day = windows.event_day
group by daily.terminal_id, windows.batch
