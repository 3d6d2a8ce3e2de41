{#- The same number as LARGE_CENTS of features.py; a test holds the two together. -#}
{%- set large_cents = 22000 -%}
select
    payments.event_id,
    payments.event_time,
    payments.customer_id,
    payments.terminal_id,
    payments.amount_cents,
    payments.label,
    not payments.label as genuine,
    case when payments.label then 0 else payments.amount_cents end as genuine_cents,
    case when payments.label then 0 else payments.days_since_1970 end as genuine_day,
    payments.label and payments.amount_cents <= {{ large_cents }} as small_fraud,
    payments.label_time,
    payments.event_day as batch
from {{ ref('fraud_payments') }} as payments
inner join {{ source('fraud', 'batches') }} as batches
    on payments.event_day = batches.batch
where batches.mart = 'spine'
