"""Search: in which order are the documents found for a query shown?"""

from datetime import date, timedelta

from jobs.spec import (
    Canary,
    Column,
    Drift,
    FeatureView,
    Gate,
    Interleaving,
    Label,
    LiveView,
    Model,
    Project,
    Slice,
    Source,
    Split,
    Threshold,
    Window,
)  # fmt: skip

CLICKED_DAYS = 1
"""How long after it was shown a click counts."""
KNOWN = timedelta(days=CLICKED_DAYS + 1)
"""Windows over clicks end this long before: a day more than the label, so that what comes a day late is in the store."""
HOUR = timedelta(hours=1)

IMPRESSIONS = Source(
    name="impressions",
    columns=(
        Column(name="impression_id", type="string"),
        Column(name="event_time", type="timestamp"),
        Column(name="search_id", type="string"),
        Column(name="user_id", type="string", personal=True),
        Column(name="query", type="string"),
        Column(name="document_id", type="string"),
        Column(name="title", type="string"),
        Column(name="title_score", type="integer", minimum=0, maximum=1_000_000),
        Column(name="body_score", type="integer", minimum=0, maximum=1_000_000),
        Column(name="age_days", type="integer", minimum=0, maximum=100_000),
        Column(name="place", type="integer", nullable=True, minimum=1, maximum=1_000),
    ),
    event_id="impression_id",
    event_time="event_time",
    lateness_days=1,
)
"""A document that was found for a search. The scores are BM25 in thousandths, as the index that found it says: what it
said when it was asked is what training sees. `place` is where it was shown, which nobody knows who still asks."""

CLICKS = Source(
    name="clicks",
    columns=(
        Column(name="click_id", type="string"),
        Column(name="clicked_at", type="timestamp"),
        Column(name="impression_id", type="string"),
        Column(name="seconds", type="integer", minimum=0, maximum=86_400),
    ),
    event_id="click_id",
    event_time="clicked_at",
    lateness_days=1,
    required=False,
)
"""What was clicked, and how many seconds it was read; silence means no click."""


def known(days: int, hop: timedelta | None = None) -> tuple[Window, Window]:
    """How often it was shown with all clicks known, and how often it was clicked."""
    length = timedelta(days=days)
    return (
        Window(name=f"known_{days}d", function="count", length=length, delay=KNOWN, hop=hop),
        Window(name=f"clicks_{days}d", function="sum", column="clicked", length=length, delay=KNOWN, hop=hop),
    )


DOCUMENT_PROFILE = FeatureView(
    name="document_profile", entity=("document_id",), features=("known_28d", "clicks_28d", "read_28d"), lookback_days=30
)
"""How a document did up to two days before the end of a day: shown, clicked, and read for long."""

INPUTS = (
    "title_bm25", "body_bm25", "query_words", "title_words", "shared_words", "share_of_query", "share_of_title",
    "is_phrase", "begins_alike", "age", "document_known_28d", "document_rate_28d", "document_read_rate_28d",
    "document_rate_7d", "pair_known_28d", "pair_rate_28d", "query_rate_28d",
)  # fmt: skip

SEARCH = Project(
    name="search",
    title="Search ranking",
    owner="discovery", start=date(2026, 1, 1), schedule="15 2 * * *",
    sources=(IMPRESSIONS, CLICKS),
    tables=("impressions", "clicks"),
    views=(DOCUMENT_PROFILE,),
    live_views=(
        LiveView(name="document", entity=("document_id",), windows=known(7, HOUR)),
        LiveView(name="pair", entity=("query", "document_id"), windows=known(28)),
        LiveView(name="query", entity=("query",), windows=known(28, HOUR)),
    ),
    label=Label(column="grade", delay_days=CLICKED_DAYS),
    models=(
        Model(
            name="search", task="ranking", group="search_id", place="place", inputs=INPUTS, metric="ndcg_at_10",
            baselines=("rule", "logistic_regression"), learners=("lightgbm", "xgboost"), trials=5,
            split=Split(train_days=14, delay_days=CLICKED_DAYS, test_days=7, folds=2),
        ),
    ),
    gate=Gate(
        thresholds=(
            Threshold(metric="ndcg_at_10", minimum=0.4, allowed_regression=0.02),
            Threshold(metric="mean_reciprocal_rank", minimum=0.3, allowed_regression=0.02),
        ),
        minimum_rows=5_000, minimum_positives=500,
        slices=(Slice(name="words asked", column="query_words", edges=(3,), by="query", metric="ndcg_at_10", minimum=0.5),),
    ),
    # The pace of a demo: with real clients a step bakes for hours (the defaults are ten minutes).
    canary=Canary(
        latency_floor_milliseconds=50.0, shadow_seconds=8, shadow_requests=200, bake_seconds=8, final_bake_seconds=8,
        deadline_seconds=120, minimum_requests=200, entities=1_000, maximum_growth_megabytes=512, label_metric=None,
        maximum_score_distance=None,
    ),
    drift=Drift(window_days=3, minimum_rows=500, cool_down_days=7),
    experiment=Interleaving(minimum_effect=0.05),
)  # fmt: skip
