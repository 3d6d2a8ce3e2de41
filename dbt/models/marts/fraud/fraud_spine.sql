select
    payments.event_id,
    payments.event_time,
    payments.customer_id,
    payments.terminal_id,
    payments.amount_cents,
    payments.label,
    payments.label_time,
    payments.event_day as batch
from {{ ref('fraud_payments') }} as payments
inner join {{ source('fraud', 'batches') }} as batches
    on payments.event_day = batches.batch
where batches.mart = 'spine'
