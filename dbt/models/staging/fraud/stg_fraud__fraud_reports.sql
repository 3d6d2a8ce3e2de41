select
    report_id,
    transaction_id as event_id,
    reported_at,
    is_fraud
from {{ source('fraud', 'fraud_reports') }}
