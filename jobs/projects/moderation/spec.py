"""Moderation of posts: may this be shown, should a person look at it, or must it not be seen?"""

from datetime import date, timedelta

from jobs.spec import (
    Canary,
    Column,
    Decision,
    Drift,
    Flags,
    Gate,
    Label,
    LiveView,
    Model,
    Project,
    Reason,
    Review,
    Slice,
    Source,
    Split,
    Threshold,
    Window,
)

DELAY = timedelta(days=4)
"""Until every verdict of a post that is asked for has been given."""

POSTS = Source(
    name="posts",
    columns=(
        Column(name="post_id", type="string"),
        Column(name="event_time", type="timestamp"),
        Column(name="author_id", type="string", personal=True),
        Column(name="community", type="string"),
        Column(name="text", type="string", maximum=2_000, personal=True),
    ),
    event_id="post_id",
    event_time="event_time",
)

VERDICTS = Source(
    name="verdicts",
    columns=(
        Column(name="verdict_id", type="string"),
        Column(name="reviewed_at", type="timestamp"),
        Column(name="post_id", type="string"),
        Column(name="reviewer_id", type="string", personal=True),
        Column(name="verdict", type="string"),
    ),
    event_id="verdict_id",
    event_time="reviewed_at",
    required=False,
)
"""What reviewers said of posts, the name of a class each; `tidemill review import` writes them as anybody may."""

AUTHOR = LiveView(
    name="author",
    entity=("author_id",),
    windows=(
        Window(name="count_1h", function="count", length=timedelta(hours=1)),
        Window(name="count_1d", function="count", length=timedelta(days=1)),
        Window(name="known_14d", function="sum", column="reviewed", length=timedelta(days=14), delay=DELAY),
        Window(name="harmful_14d", function="sum", column="harmful", length=timedelta(days=14), delay=DELAY),
    ),
)
"""How fast an author posts, and what reviewers said of older posts; a window ends before verdicts may be missing."""

NUMBERS = (
    "characters", "words", "capitals", "exclamations", "links", "tricks",
    "author_count_1h", "author_count_1d", "author_reviewed_14d", "author_harmful_share_14d",
)  # fmt: skip
WORDING = Flags(name="wording", numbers=108)

DECISIONS = (
    Decision(name="allow", costs=(0, 5, 20)),
    Decision(name="review", costs=(1, 1, 1.5)),
    Decision(name="block", costs=(15, 0, 0)),
)
"""What one post costs, a minute of a reviewer being 1: harm that is seen, and a voice that is not heard."""

REASONS = (
    Reason(input="wording", text="its words: {value:.0f} of the pieces that are looked for"),
    Reason(input="tricks", text="{value:.0f} tricks of spelling", zero="it is spelled plainly"),
    Reason(input="links", text="{value:.0f} links", zero="it has no link"),
    Reason(input="author_count_1h", text="the author's posts within the hour: {value:.0f}"),
    Reason(
        input="author_harmful_share_14d", zero="no post of the author is known to have been harmful",
        text="{value:.0%} of the author's {author_reviewed_14d:.0f} reviewed posts were harmful",
    ),
)  # fmt: skip

COMMUNITY = Slice(
    name="community", column="community", values=("kitchen", "garden", "cycling"), metric="false_positive_rate",
    maximum=0.1, maximum_gap=0.08,
)  # fmt: skip
"""Nobody's harmless posts may be taken for harm more often than others' because of what they talk about."""

PACE = Canary(
    latency_floor_milliseconds=50.0, maximum_growth_megabytes=512, parity_rows=500, entities=500, shadow_seconds=8,
    shadow_requests=100, bake_seconds=8, final_bake_seconds=8, deadline_seconds=120, minimum_requests=100,
)  # fmt: skip
"""The pace of a demo, on a machine that is busy with all the rest."""

MODEL = Model(
    name="moderation", task="multiclass", classes=("harmless", "spam", "abuse"), decisions=DECISIONS,
    inputs=(*NUMBERS, *WORDING.inputs), flags=WORDING, reasons=REASONS,
    baselines=("logistic_regression",), learners=("lightgbm", "xgboost"), trials=3, metric="log_loss",
    split=Split(train_days=21, delay_days=DELAY.days, test_days=7, folds=2),
)  # fmt: skip

MODERATION = Project(
    name="moderation",
    title="Moderation of posts",
    owner="trust",
    start=date(2025, 9, 1),
    schedule="30 3 * * *",
    sources=(POSTS, VERDICTS),
    tables=("posts", "verdicts"),
    views=(),
    live_views=(AUTHOR,),
    label=Label(column="class", delay_days=DELAY.days, sparse=True),
    models=(MODEL,),
    gate=Gate(
        thresholds=(
            Threshold(metric="log_loss", allowed_regression=0.02),
            Threshold(metric="macro_f1", minimum=0.75, allowed_regression=0.03),
            Threshold(metric="worst_class_recall", minimum=0.6),
            Threshold(metric="expected_calibration_error", maximum=0.05),
        ),
        minimum_rows=500,
        minimum_positives=50,
        slices=(COMMUNITY,),
    ),
    canary=PACE,
    drift=Drift(window_days=3, minimum_rows=500, cool_down_days=7),
    review=Review(verdicts="verdicts", items_a_day=100, explored=0.2, reviewers=3, minimum_agreement=0.4),
)
