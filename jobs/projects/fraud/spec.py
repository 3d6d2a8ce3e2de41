"""Card-payment fraud: is this payment made by the card's owner?"""

from datetime import date

from jobs.spec import (
    Alias,
    Canary,
    Column,
    Drift,
    FeatureView,
    Gate,
    Label,
    Model,
    Project,
    Source,
    Split,
    Threshold,
)  # fmt: skip

TRANSACTIONS = Source(
    name="transactions",
    columns=(
        Column(name="transaction_id", type="string", aliases=(Alias(name="TRANSACTION_ID"),)),
        Column(name="event_time", type="timestamp", aliases=(Alias(name="TX_DATETIME"),)),
        Column(name="customer_id", type="string", aliases=(Alias(name="CUSTOMER_ID"),), personal=True),
        Column(name="terminal_id", type="string", aliases=(Alias(name="TERMINAL_ID"),)),
        Column(
            name="amount_cents",
            type="integer",
            aliases=(Alias(name="TX_AMOUNT", multiply=100), Alias(name="amount", multiply=100)),
            minimum=0,
            maximum=100_000_000,
        ),
        Column(name="is_fraud", type="boolean", nullable=True, aliases=(Alias(name="TX_FRAUD"),)),
    ),
    event_id="transaction_id",
    event_time="event_time",
)
"""Payments. `is_fraud` is delivered only by producers that export history, long after the fact."""

FRAUD_REPORTS = Source(
    name="fraud_reports",
    columns=(
        Column(name="report_id", type="string"),
        Column(name="reported_at", type="timestamp"),
        Column(name="transaction_id", type="string"),
        Column(name="is_fraud", type="boolean"),
    ),
    event_id="report_id",
    event_time="reported_at",
    required=False,
)
"""What card holders and investigators report, within a week of the payment; silence means genuine."""

CUSTOMER = FeatureView(
    name="customer",
    entity=("customer_id",),
    features=("count_1d", "amount_cents_1d", "count_7d", "amount_cents_7d", "count_30d", "amount_cents_30d"),
    lookback_days=30,
)

TERMINAL = FeatureView(
    name="terminal",
    entity=("terminal_id",),
    features=("count_1d", "frauds_1d", "count_7d", "frauds_7d", "count_30d", "frauds_30d"),
    lookback_days=37,
)
"""Windows end seven days before the batch does: only then is every label in them known."""

INPUTS = (
    "amount", "is_weekend", "is_night",
    "customer_count_1d", "customer_mean_amount_1d", "customer_count_7d", "customer_mean_amount_7d",
    "customer_count_30d", "customer_mean_amount_30d",
    "terminal_count_1d", "terminal_risk_1d", "terminal_count_7d", "terminal_risk_7d",
    "terminal_count_30d", "terminal_risk_30d", "amount_over_mean_30d",
)  # fmt: skip

FRAUD = Project(
    name="fraud",
    title="Card-payment fraud",
    owner="payments",
    start=date(2018, 4, 1),
    schedule="0 2 * * *",
    sources=(TRANSACTIONS, FRAUD_REPORTS),
    tables=("transactions", "fraud_reports"),
    views=(CUSTOMER, TERMINAL),
    label=Label(column="is_fraud", delay_days=7),
    models=(
        Model(
            name="fraud",
            inputs=INPUTS,
            baselines=("rule", "logistic_regression"),
            learners=("xgboost", "lightgbm"),
            trials=12,
            metric="average_precision",
            split=Split(train_days=28, delay_days=7, test_days=7, validation_days=7),
        ),
    ),
    gate=Gate(
        thresholds=(
            Threshold(metric="average_precision", minimum=0.20, allowed_regression=0.0),
            Threshold(metric="roc_auc", minimum=0.70, allowed_regression=0.02),
            Threshold(metric="mean_prediction_ratio", minimum=0.5, maximum=2.0),
        ),
        minimum_rows=1_000,
        minimum_positives=20,
    ),
    # The pace of a demo: with real clients a step bakes for hours (the defaults are ten minutes).
    canary=Canary(bake_seconds=8, deadline_seconds=120, minimum_requests=200),
    drift=Drift(window_days=3, minimum_rows=500, column_threshold=0.2, share_threshold=0.15, cool_down_days=7),
)
