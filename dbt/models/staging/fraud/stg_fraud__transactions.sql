select
    transaction_id as event_id,
    event_time,
    cast(event_time as date) as event_day,
    customer_id,
    terminal_id,
    amount_cents,
    is_fraud
from {{ source('fraud', 'transactions') }}
