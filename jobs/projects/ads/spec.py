"""Click prediction: how likely is it that this impression is clicked within a day?"""

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
    Serving,
    Slice,
    Source,
    Split,
    Threshold,
    Window,
)  # fmt: skip

ATTRIBUTION_DAYS = 1
"""How long after its impression a click counts."""
KNOWN = timedelta(days=ATTRIBUTION_DAYS + 1)
"""Windows over clicks end this long before the impression: a day more than the label, so that the batch that
brings the last click, or an impression that comes a day late, is in the store by then."""

IMPRESSIONS = Source(
    name="impressions",
    columns=(
        Column(name="impression_id", type="string"),
        Column(name="event_time", type="timestamp", aliases=(Alias(name="click_time"),)),
        Column(name="user_id", type="string", aliases=(Alias(name="ip"),), personal=True),
        Column(name="ad_id", type="string", aliases=(Alias(name="app"),)),
        Column(name="site_id", type="string", aliases=(Alias(name="channel"),)),
        Column(name="device_id", type="string", aliases=(Alias(name="device"),)),
        Column(name="os_id", type="string", aliases=(Alias(name="os"),)),
    ),
    event_id="impression_id",
    event_time="event_time",
    lateness_days=1,
)
"""What was shown to whom, and where. The other names are those of TalkingData's public clicks, whose event is one
step further: a click, which an installed app may follow."""

CLICKS = Source(
    name="clicks",
    columns=(
        Column(name="click_id", type="string"),
        Column(name="clicked_at", type="timestamp", aliases=(Alias(name="attributed_time"),)),
        Column(name="impression_id", type="string"),
    ),
    event_id="click_id",
    event_time="clicked_at",
    lateness_days=1,
    required=False,
)
"""Arrives by its own time, up to a day after its impression; silence means no click."""


HOUR = timedelta(hours=1)


def shown(name: str, hop: timedelta | None = None, **length: int) -> Window:
    """How many impressions there were, the present one included."""
    return Window(name=f"impressions_{name}", function="count", length=timedelta(**length), hop=hop)


def known(days: int, hop: timedelta | None = None) -> tuple[Window, Window]:
    """How many impressions there were of which it is known whether they were clicked, and how many were."""
    length = timedelta(days=days)
    return (
        Window(name=f"known_{days}d", function="count", length=length, delay=KNOWN, hop=hop),
        Window(name=f"clicks_{days}d", function="sum", column="label", length=length, delay=KNOWN, hop=hop),
    )


LIVE_VIEWS = (
    LiveView(name="user", entity=("user_id",), windows=(shown("1h", hours=1), shown("7d", days=7))),
    LiveView(name="user_ad", entity=("user_id", "ad_id"), windows=(shown("1d", days=1), shown("7d", days=7))),
    LiveView(name="ad", entity=("ad_id",), windows=(shown("1d", HOUR, days=1), *known(7, HOUR), *known(28, HOUR))),
    LiveView(name="site", entity=("site_id",), windows=(*known(7, HOUR), *known(28, HOUR))),
    LiveView(name="ad_site", entity=("ad_id", "site_id"), windows=known(28)),
)
"""Ads and sites have too many events a key for exact windows; theirs move by the hour."""

USER_HISTORY = FeatureView(
    name="user_history", entity=("user_id",), features=("known_28d", "clicks_28d"), lookback_days=30
)
"""The clicks of a user. A day's delay costs nothing here, and a user with history is rarely seen twice an hour."""

INPUTS = (
    "hour", "user_impressions_1h", "user_impressions_7d", "user_saw_ad_1d", "user_saw_ad_7d",
    "user_known_28d", "user_rate_28d", "ad_impressions_1d", "ad_known_28d", "ad_rate_7d", "ad_rate_28d",
    "site_rate_7d", "site_rate_28d", "ad_site_known_28d", "ad_site_rate_28d",
    *(f"hashed_{bucket}" for bucket in range(12)),
)  # fmt: skip


def calibrated(name: str, column: str, *edges: float, by: str | None = None) -> Slice:
    """Groups of impressions in which as many clicks have to be predicted as happen."""
    return Slice(
        name=name, column=column, edges=edges, by=by, metric="mean_prediction_ratio", minimum=0.98, maximum=1.02,
        minimum_positives=300,
    )  # fmt: skip


ADS = Project(
    name="ads",
    title="Click prediction",
    owner="advertising",
    start=date(2017, 11, 1),
    schedule="30 2 * * *",
    sources=(IMPRESSIONS, CLICKS),
    tables=("impressions", "clicks"),
    views=(USER_HISTORY,),
    live_views=LIVE_VIEWS,
    label=Label(column="is_clicked", delay_days=ATTRIBUTION_DAYS),
    models=(
        Model(
            name="ads",
            inputs=INPUTS,
            baselines=("logistic_regression",),
            learners=("xgboost", "lightgbm"),
            trials=6,
            metric="log_loss",
            imbalance=("none", "sampling"),
            split=Split(train_days=14, delay_days=ATTRIBUTION_DAYS, test_days=7, folds=3),
        ),
    ),
    gate=Gate(
        thresholds=(
            Threshold(metric="log_loss", allowed_regression=0.002),
            Threshold(metric="normalised_entropy", maximum=0.99),
            Threshold(metric="mean_prediction_ratio", minimum=0.98, maximum=1.02, surely=True),
        ),
        minimum_rows=20_000,
        minimum_positives=1_000,
        slices=(
            calibrated("hour", "hour", 6, 12, 18),
            calibrated("ad", "ad_known_28d", 100, 500, by="ad_id"),
            calibrated("user", "user_known_28d", 1, 10),
        ),
    ),
    # The pace of a demo: with real clients a step bakes for hours (the defaults are ten minutes).
    canary=Canary(
        latency_floor_milliseconds=50.0, shadow_seconds=8, shadow_requests=200, bake_seconds=8, final_bake_seconds=8,
        deadline_seconds=120, minimum_requests=200, entities=1_000, maximum_growth_megabytes=512,
    ),
    drift=Drift(window_days=3, minimum_rows=500, cool_down_days=7),
    serving=Serving(rule_baseline=False),
    experiment=Experiment(
        primary=Metric(name="positives", direction="higher"),
        minimum_effect=0.003,
        guardrails=(
            Metric(name="log_loss", direction="lower", margin=0.01),
            Metric(name="degraded", direction="lower", margin=0.01),
        ),
        maximum_days=14,
    ),
)  # fmt: skip
