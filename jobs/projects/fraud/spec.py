"""Card-payment fraud: is this payment made by the card's owner?"""

from datetime import date, timedelta

from jobs.spec import (
    Alias,
    Canary,
    Column,
    Drift,
    FeatureView,
    Gate,
    Label,
    LiveView,
    Model,
    Project,
    Reason,
    Slice,
    Source,
    Split,
    Threshold,
    Window,
)  # fmt: skip

DELAY = timedelta(days=7)
"""Until a payment's label is known for certain."""

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

CUSTOMER = LiveView(
    name="customer",
    entity=("customer_id",),
    windows=tuple(
        window
        for days in (1, 7, 30)
        for window in (
            Window(name=f"count_{days}d", function="count", length=timedelta(days=days)),
            Window(name=f"amount_cents_{days}d", function="sum", column="amount_cents", length=timedelta(days=days)),
        )
    ),
)
"""What a customer pays, the present payment included."""

TERMINAL = LiveView(
    name="terminal",
    entity=("terminal_id",),
    windows=tuple(
        window
        for days in (1, 7, 30)
        for window in (
            Window(name=f"count_{days}d", function="count", length=timedelta(days=days), delay=DELAY),
            Window(name=f"frauds_{days}d", function="sum", column="label", length=timedelta(days=days), delay=DELAY),
        )
    ),
)
"""Frauds at a terminal. Windows end seven days before the payment: only then is every label in them known."""

CUSTOMER_PROFILE = FeatureView(
    name="customer_profile",
    entity=("customer_id",),
    features=("count_1d", "amount_cents_1d", "count_7d", "amount_cents_7d", "count_30d", "amount_cents_30d"),
    lookback_days=30,
)
"""What a customer paid up to the end of a day."""

INPUTS = (
    "amount", "is_weekend", "is_night",
    "customer_count_1d", "customer_mean_amount_1d", "customer_count_7d", "customer_mean_amount_7d",
    "customer_count_30d", "customer_mean_amount_30d",
    "terminal_count_1d", "terminal_risk_1d", "terminal_count_7d", "terminal_risk_7d",
    "terminal_count_30d", "terminal_risk_30d", "amount_over_mean_30d",
)  # fmt: skip

REASONS = (
    Reason(input="amount", text="the amount is {value:.2f}"),
    Reason(input="is_weekend", text="paid on a weekend", zero="paid on a weekday"),
    Reason(input="is_night", text="paid between midnight and seven", zero="not paid at night"),
    Reason(input="amount_over_mean_30d", text="the amount is {value:.1f} times this customer's 30-day mean"),
    *(
        reason
        for days, while_ in ((1, "1 day"), (7, "7 days"), (30, "30 days"))
        for reason in (
            Reason(
                input=f"customer_count_{days}d",
                text=f"the customer's payments in {while_}, this one included: {{value:.0f}}",
            ),
            Reason(
                input=f"customer_mean_amount_{days}d",
                text=f"the customer's mean amount over {while_} is {{value:.2f}}",
            ),
            Reason(
                input=f"terminal_count_{days}d",
                text=f"payments at the terminal in {while_}, ending a week ago: {{value:.0f}}",
            ),
            Reason(
                input=f"terminal_risk_{days}d",
                text=f"{{value:.0%}} of the {{terminal_count_{days}d:.0f}} payments at the terminal "
                f"in {while_}, ending a week ago, were fraud",
                zero=f"no fraud is known at the terminal in {while_}, ending a week ago",
            ),
        )
    ),
)

SLICES = (
    Slice(name="amount", column="amount", edges=(20, 60, 120), minimum=0.6),
    Slice(name="hour", column="is_night", values=(0, 1), labels=("day", "night"), minimum=0.6),
    Slice(name="weekday", column="is_weekend", values=(0, 1), labels=("working day", "weekend"), minimum=0.6),
    Slice(
        name="customer",
        column="customer_count_30d",
        edges=(10,),
        labels=("fewer than 10 payments in 30 days", "10 payments or more"),
        minimum=0.6,
    ),
)
"""Groups of payments in which the model has to tell fraud from the rest as well: by area under the ROC curve."""

FRAUD = Project(
    name="fraud",
    title="Card-payment fraud",
    owner="payments",
    start=date(2018, 4, 1),
    schedule="0 2 * * *",
    sources=(TRANSACTIONS, FRAUD_REPORTS),
    tables=("transactions", "fraud_reports"),
    views=(CUSTOMER_PROFILE,),
    live_views=(CUSTOMER, TERMINAL),
    label=Label(column="is_fraud", delay_days=DELAY.days),
    models=(
        Model(
            name="fraud",
            inputs=INPUTS,
            baselines=("rule", "logistic_regression"),
            learners=("xgboost", "lightgbm"),
            trials=12,
            metric="average_precision",
            split=Split(train_days=7, delay_days=DELAY.days, test_days=7, folds=4, drop_known=True),
            reasons=REASONS,
        ),
    ),
    gate=Gate(
        thresholds=(
            Threshold(metric="average_precision", minimum=0.20, allowed_regression=0.05),
            Threshold(metric="roc_auc", minimum=0.70, allowed_regression=0.03),
            Threshold(metric="expected_calibration_error", maximum=0.02),
            Threshold(metric="mean_prediction_ratio", minimum=0.5, maximum=2.0),
        ),
        minimum_rows=1_000,
        minimum_positives=20,
        slices=SLICES,
    ),
    # The pace of a demo: with real clients a step bakes for hours (the defaults are ten minutes).
    canary=Canary(bake_seconds=8, deadline_seconds=120, minimum_requests=200),
    drift=Drift(window_days=3, minimum_rows=500, column_threshold=0.2, share_threshold=0.15, cool_down_days=7),
)
