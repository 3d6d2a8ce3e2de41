with

payments as (
    select
        *,
        event_time + interval '{{ var("label_delay_days") }} days' as label_time
    from {{ ref('stg_fraud__transactions') }}
),

reported as (
    select distinct
        payments.event_id,
        payments.event_day
    from payments
    inner join {{ ref('stg_fraud__fraud_reports') }} as reports
        on payments.event_id = reports.event_id
    where
        reports.is_fraud
        and reports.reported_at >= payments.event_time
        and reports.reported_at <= payments.label_time
)

select
    payments.event_id,
    payments.event_time,
    payments.event_day,
    payments.customer_id,
    payments.terminal_id,
    payments.amount_cents,
    payments.label_time,
    {{ days_since_1970('payments.event_day') }} as days_since_1970,
    coalesce(payments.is_fraud, reported.event_id is not null) as label
from payments
left join reported
    on
        payments.event_id = reported.event_id
        and payments.event_day = reported.event_day
