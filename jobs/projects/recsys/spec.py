"""Recommended films: which are candidates for a viewer, and in which order are they offered?"""

from datetime import date, timedelta

from jobs import spec

WATCHED_DAYS = 1
"""How long after its offer a film counts as watched because of it."""
KNOWN = timedelta(days=WATCHED_DAYS + 1)
"""Windows over what was watched end this long before the offer: a day more than the label, so that what comes a day
late is in the store by then."""
HOUR = timedelta(hours=1)

IMPRESSIONS = spec.Source(
    name="impressions",
    columns=(
        spec.Column(name="impression_id", type="string"),
        spec.Column(name="event_time", type="timestamp"),
        spec.Column(name="request_id", type="string"),
        spec.Column(name="user_id", type="string", personal=True),
        spec.Column(name="item_id", type="integer", minimum=1, maximum=2**31),
        spec.Column(name="topic", type="integer", minimum=0, maximum=1_000),
        spec.Column(name="published_day", type="integer", minimum=-100_000, maximum=100_000),
        spec.Column(name="last_item_id", type="integer", minimum=0, maximum=2**31),
        spec.Column(name="place", type="integer", nullable=True, minimum=1, maximum=1_000),
    ),
    event_id="impression_id",
    event_time="event_time",
    lateness_days=1,
)
"""What was offered to whom; `published_day` is the film's, in days since 1970, and `last_item_id` is what the viewer
watched last in this session, 0 for nothing."""

WATCHES = spec.Source(
    name="watches",
    columns=(
        spec.Column(name="watch_id", type="string"),
        spec.Column(name="watched_at", type="timestamp"),
        spec.Column(name="impression_id", type="string"),
        spec.Column(name="percent", type="integer", minimum=1, maximum=100),
    ),
    event_id="watch_id",
    event_time="watched_at",
    lateness_days=1,
    required=False,
)
"""Arrives by its own time, up to a day after the offer; silence means it was not watched."""


def known(days: int, hop: timedelta | None = None) -> tuple[spec.Window, spec.Window]:
    """How many offers there were of which it is known whether they were watched, and how many were."""
    length = timedelta(days=days)
    return (
        spec.Window(name=f"known_{days}d", function="count", length=length, delay=KNOWN, hop=hop),
        spec.Window(name=f"watches_{days}d", function="sum", column="watched", length=length, delay=KNOWN, hop=hop),
    )


def offers(hop: timedelta | None = None) -> spec.Window:
    """How many offers there were within a day, the present one included."""
    return spec.Window(name="offers_1d", function="count", length=timedelta(days=1), hop=hop)


def nightly(name: str, *entity: str, features: tuple[str, ...]) -> spec.FeatureView:
    """What a month of offers and watches came to by the end of a day."""
    return spec.FeatureView(name=name, entity=entity, features=features, lookback_days=30)


INPUTS = (
    "hour", "age", "in_session", "viewer_watched_28d", "watched_lately", "item_offers_28d", "item_rate_28d",
    "item_offers_1d", "item_rate_7d", "topic_offers_1d", "topic_known_28d", "topic_rate_28d",
    "pair_together", "pair_likeness", "candidate_place",
)  # fmt: skip
RECENT = tuple(f"recent_{place}" for place in range(1, 11))
SPLIT = spec.Split(train_days=28, delay_days=WATCHED_DAYS, test_days=5, folds=2)

# The pace of a demo: with real clients a step bakes for hours (the defaults are ten minutes).
PACE = spec.Canary(
    latency_floor_milliseconds=50.0, shadow_seconds=8, shadow_requests=200, bake_seconds=8, final_bake_seconds=8,
    deadline_seconds=120, minimum_requests=200, entities=200, maximum_growth_megabytes=512, label_metric=None,
    maximum_score_distance=None,
)  # fmt: skip

RECSYS = spec.Project(
    name="recsys",
    title="Recommended films",
    owner="discovery",
    start=date(2026, 1, 1),
    schedule="45 2 * * *",
    sources=(IMPRESSIONS, WATCHES),
    tables=("impressions", "watches"),
    views=(
        nightly("user_history", "user_id", features=("watched_28d", *RECENT)),
        nightly("candidates", "user_id", features=tuple(f"candidate_{place}" for place in range(1, 41))),
        nightly("item_profile", "item_id", features=("offers_28d", "watches_28d")),
        nightly("item_pairs", "last_item_id", "item_id", features=("together", "likeness")),
    ),
    live_views=(
        spec.LiveView(name="viewer_topic", entity=("user_id", "topic"), windows=(offers(), *known(28))),
        spec.LiveView(name="item", entity=("item_id",), windows=(offers(HOUR), *known(7, HOUR))),
    ),
    label=spec.Label(column="label", delay_days=WATCHED_DAYS),
    models=(
        spec.Model(
            name="retrieval",
            task="retrieval",
            item=("item_id", "topic", "published_day"),
            inputs=("item", "item_topic", "item_published", "session", *RECENT),
            baselines=("popularity",),
            learners=("als",),
            trials=3,
            metric="recall_at_100",
            split=SPLIT,
        ),
        spec.Model(
            name="ranking",
            task="ranking",
            group="request_id",
            place="place",
            inputs=INPUTS,
            baselines=("logistic_regression",),
            learners=("lightgbm", "xgboost"),
            trials=3,
            metric="ndcg_at_10",
            split=SPLIT,
        ),
    ),
    gate=spec.Gate(
        thresholds=(
            spec.Threshold(model="retrieval", metric="recall_at_100", minimum=0.3, allowed_regression=0.02),
            spec.Threshold(model="retrieval", metric="coverage_at_100", minimum=0.5),
            spec.Threshold(model="ranking", metric="ndcg_at_10", minimum=0.4, allowed_regression=0.02),
        ),
        minimum_rows=2_000,
        minimum_positives=200,
    ),
    canary=PACE,
    drift=spec.Drift(window_days=3, minimum_rows=500, cool_down_days=7),
    experiment=spec.Interleaving(minimum_effect=0.05),
    replay=spec.Replay(minimum_identical=0.99),  # what is offered in one instant comes in any order
    serving=spec.Serving(scan_values=0),  # a viewer is shown many films: that is no scan of the model
    offers=spec.Offers(diversity=0.2, rules=(spec.Rule(column="topic", at_most=4),)),
)
