"""Card-payment fraud: is this payment made by the card's owner?"""

from datetime import date, timedelta

from jobs.spec import (
    Alias,
    Canary,
    Column,
    Drift,
    Experiment,
    FeatureView,
    Gate,
    Label,
    LiveView,
    Metric,
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
DAYS = (1, 7, 30)
"""The lengths of the windows that the Fraud Detection Handbook publishes."""

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
    windows=(
        *(Window(name=f"count_{days}d", function="count", length=timedelta(days=days)) for days in DAYS),
        *(
            Window(name=f"amount_cents_{days}d", function="sum", column="amount_cents", length=timedelta(days=days))
            for days in DAYS
        ),
        Window(name="largest_cents_7d", function="max", column="amount_cents", length=timedelta(days=7)),
        Window(name="genuine_23d", function="sum", column="genuine", length=timedelta(days=23), delay=DELAY),
        Window(
            name="genuine_cents_23d", function="sum", column="genuine_cents", length=timedelta(days=23), delay=DELAY
        ),
    ),
)
"""What a customer pays, the present payment included; and what is usual: payments known to be genuine."""

TERMINAL = LiveView(
    name="terminal",
    entity=("terminal_id",),
    windows=(
        *(Window(name=f"count_{days}d", function="count", length=timedelta(days=days), delay=DELAY) for days in DAYS),
        *(
            Window(name=f"frauds_{days}d", function="sum", column="label", length=timedelta(days=days), delay=DELAY)
            for days in DAYS
        ),
        Window(name="count_21d", function="count", length=timedelta(days=21), delay=DELAY),
        Window(name="small_frauds_21d", function="sum", column="small_fraud", length=timedelta(days=21), delay=DELAY),
        Window(
            name="last_small_fraud_21d", function="last", column="small_fraud", length=timedelta(days=21), delay=DELAY
        ),
        Window(
            name="last_genuine_day_21d", function="max", column="genuine_day", length=timedelta(days=21), delay=DELAY
        ),
    ),
)
"""Frauds at a terminal. Windows end seven days before the payment: only then is every label in them known."""

CUSTOMER_PROFILE = FeatureView(
    name="customer_profile",
    entity=("customer_id",),
    features=("count_30d", "amount_cents_30d"),
    lookback_days=30,
)
"""What a customer paid up to the end of a day, for people and reports.

No input reads it: a payment that is delivered late changes a value after it was served, and the replay finds that.
"""

INPUTS = (
    "amount", "is_weekend", "is_night",
    "customer_count_1d", "customer_mean_amount_1d", "customer_count_7d", "customer_mean_amount_7d",
    "customer_count_30d", "customer_mean_amount_30d",
    "terminal_count_1d", "terminal_risk_1d", "terminal_count_7d", "terminal_risk_7d",
    "terminal_count_30d", "terminal_risk_30d",
    "amount_over_mean_30d", "is_large", "amount_over_usual", "largest_7d_over_usual",
    "terminal_small_fraud_share_21d", "terminal_last_is_small_fraud", "terminal_days_since_genuine",
)  # fmt: skip

REASONS = (
    Reason(input="amount", text="the amount is {value:.2f}"),
    Reason(input="is_weekend", text="paid on a weekend", zero="paid on a weekday"),
    Reason(input="is_night", text="paid between midnight and seven", zero="not paid at night"),
    Reason(input="amount_over_mean_30d", text="the amount is {value:.1f} times this customer's 30-day mean"),
    Reason(input="is_large", text="the amount is over 220", zero="the amount is not over 220"),
    Reason(
        input="amount_over_usual",
        text="the amount is {value:.1f} times what this customer's genuine payments usually are",
        zero="no payment of this customer is known to be genuine yet",
    ),
    Reason(
        input="largest_7d_over_usual",
        text="the customer's largest payment in 7 days is {value:.1f} times what is usual",
        zero="no payment of this customer is known to be genuine yet",
    ),
    Reason(
        input="terminal_small_fraud_share_21d",
        text="{value:.0%} of the payments at the terminal in 21 days, ending a week ago, were frauds of small amounts",
        zero="no fraud of a small amount is known at the terminal in 21 days, ending a week ago",
    ),
    Reason(
        input="terminal_last_is_small_fraud",
        text="the terminal's last payment whose label is known was a fraud of a small amount",
        zero="the terminal's last payment whose label is known was no fraud of a small amount",
    ),
    Reason(
        input="terminal_days_since_genuine",
        text="days since a payment at the terminal was known to be genuine: {value:.0f}",
    ),
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
            Threshold(metric="mean_prediction_ratio", minimum=0.4, maximum=2.5),
        ),
        minimum_rows=1_000,
        minimum_positives=20,
        slices=SLICES,
    ),
    # The pace of a demo: with real clients a step bakes for hours (the defaults are ten minutes). And its machine is
    # busy with all the rest, so that only what is very slow counts as slow.
    canary=Canary(
        latency_floor_milliseconds=50.0,
        shadow_seconds=8,
        shadow_requests=200,
        bake_seconds=8,
        final_bake_seconds=8,
        deadline_seconds=120,
        minimum_requests=200,
        entities=1_000,
        maximum_growth_megabytes=512,
    ),
    drift=Drift(window_days=3, minimum_rows=500, cool_down_days=7),
    experiment=Experiment(
        primary=Metric(name="log_loss", direction="lower"),
        minimum_effect=0.002,
        guardrails=(
            Metric(name="caught", direction="higher", margin=0.05),
            Metric(name="false_alarms", direction="lower", margin=0.01),
        ),
        secondary=(Metric(name="brier", direction="lower"),),
    ),
)
