"""What has to hold before a release serves, and while it does: values that a project declares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from jobs.slices import Slice

HALF = 50
"""Percent of the traffic that each side of an experiment has."""


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A metric's floor (or ceiling), and how far it may fall behind the champion."""

    metric: str
    minimum: float | None = None
    maximum: float | None = None
    allowed_regression: float | None = None
    model: str | None = None
    """Which of several models it is about; None is every one."""
    surely: bool = False
    """Of a ratio that has to be near 1: refused when its whole 95 % interval is beyond a bound, as a slice's group is,
    and not for the luck of few positives; `Gate.minimum_positives` says how narrow the interval has to be."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What a challenger must show on the hold-out before it may be registered."""

    thresholds: tuple[Threshold, ...]
    minimum_rows: int
    minimum_positives: int
    slices: tuple[Slice, ...] = ()
    """Groups of the hold-out's rows in which it has to be good as well."""

    def of(self, model: str) -> tuple[Threshold, ...]:
        """The thresholds that a model has to keep."""
        return tuple(one for one in self.thresholds if one.model in (None, model))


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What may be done with a row, and what it costs where that turns out to be wrong."""

    name: str
    costs: tuple[float, ...]
    """Of one row in each class, in the order of the model's classes, in whatever unit: only their ratios decide."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What every list keeps to: a business rule about one of an item's columns."""

    column: str
    minimum: int | None = None
    maximum: int | None = None
    """Items outside of these bounds are never on a list."""
    at_most: int | None = None
    """How many items of a list may have the same value."""


@dataclass(frozen=True, kw_only=True)
class Offers:
    """How a row of a request that names no item is answered: by a list of items that the release finds and ranks."""

    length: int = 10
    candidates: int = 100
    """How many of the items that the release finds nearest are ranked."""
    diversity: float = 0.2
    """From 0, the order of the scores, to 1, where only what is unlike all before it counts."""
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A mean over served events whose label is known for certain, and which way is better."""

    name: Literal["log_loss", "brier", "caught", "false_alarms", "acted", "positives", "degraded"]
    """`caught` and `false_alarms`: of the positive and of the negative events, the share that was not approved;
    `acted`: the same of all; `positives`: the share of positive labels; `degraded`: of degraded answers."""
    direction: Literal["lower", "higher"]
    margin: float = 0.0
    """As a guardrail, or of a canary: how much worse than the stable release it may be, in its own unit."""

    @property
    def lower_is_better(self) -> bool:
        return self.direction == "lower"


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """How two releases are compared on their labels, half of the entities each."""

    primary: Metric
    minimum_effect: float
    """The smallest improvement of the primary metric that is worth a release, in its own unit."""
    guardrails: tuple[Metric, ...] = ()
    """Metrics that may surely not be worse than by their margin."""
    secondary: tuple[Metric, ...] = ()
    """Metrics that are shown and decide nothing."""
    alpha: float = 0.05
    """The chance, over all looks, primary metric and guardrails, that an interval is ever wrong."""
    power: float = 0.8
    """The chance of finding the minimum effect where it is there."""
    maximum_days: int = 28
    """How long it may stay undecided before the candidate is rolled back."""
    minimum_entities: int = 200
    """Entities with a label that each side needs before anything is decided: the intervals are asymptotic."""
    maximum_crossed: float = 0.01
    """The share of entities that both sides may have answered; they are left out of every metric."""


@dataclass(frozen=True, kw_only=True)
class Interleaving:
    """How two releases of a ranking are compared: both choose in turn what is on one list, and labels say whose choices
    were better."""

    minimum_effect: float
    """The smallest excess over a half, of the lists with a preference, of those that prefer the candidate's choices, that
    is worth a release: 0.05 is 55 of 100."""
    alpha: float = 0.05
    """The chance, over all looks, that the share's interval is ever wrong."""
    power: float = 0.8
    """The chance of finding the minimum effect where it is there."""
    maximum_days: int = 28
    """How long it may stay undecided before the candidate is rolled back."""


@dataclass(frozen=True, kw_only=True)
class Approval:
    """That a person has to agree to a release that passed the gate, before it is registered."""

    timeout_hours: float = 24.0
    """Without an answer by then it is a no."""
    note: str = ""
    """What whoever decides should know or look at: the first lines of the form."""


@dataclass(frozen=True, kw_only=True)
class Review:
    """Which answers people look at, and what their verdicts must be like to be learned from."""

    verdicts: str
    """The source that holds their verdicts: the columns `reviewer_id` and `verdict` (a class, or true and false), and
    the item's id under the name that the first source gives it."""
    items_a_day: int
    """How many of a day's events people have the time to look at."""
    explored: float = 0.2
    """The share of those that is drawn at random from all events of the day: nothing else shows what the model misses."""
    reviewers: int = 1
    """How many people look at the same item."""
    minimum_agreement: float = 0.4
    """Krippendorff's alpha below which verdicts are no labels, and the instructions are what has to be worked on."""


@dataclass(frozen=True, kw_only=True)
class Canary:
    """How a release walks from no traffic to all of it."""

    policy: Literal["canary", "blue_green", "ab"] = "canary"
    """`canary` visits every step; `blue_green` goes from none to all; `ab` stays at half until its experiment ends."""
    parity_rows: int = 1_000
    """How many stored vectors the candidate must score as training did before it is asked anything."""
    shadow_seconds: int = 600
    """How long the candidate is sent a copy of every request, whose answers nobody gets; 0 leaves the shadow out."""
    shadow_requests: int = 500
    """How many of its answers must have been compared with the stable slot's."""
    maximum_decisions_changed: float = 0.2
    """The share of answers in the shadow that may have another decision than the stable slot's."""
    steps: tuple[int, ...] = (5, 25, 50, 100)
    """Percent of traffic at each step."""
    bake_seconds: int = 600
    """How long a step is watched before its verdict may advance it."""
    final_bake_seconds: int = 600
    """How long a release that passed the step at 100 percent is watched once more; 0 leaves that out."""
    deadline_seconds: int = 3_600
    """How long a step may hold for want of evidence before it is rolled back."""
    alpha: float = 0.05
    """The chance, over all looks, steps and checks of a walk, of rolling back a release that is as good as the stable."""
    minimum_requests: int = 500
    maximum_unmeasured_looks: int = 3
    """Looks in a row without numbers from router or slot that end a step."""
    maximum_error_rate: float = 0.01
    error_effect: float = 0.002
    """How much more of the candidate's requests may fail than of the stable slot's in the same period."""
    maximum_score_distance: float | None = 0.3
    """How far its scores may be from the stable slot's: the largest difference of the shares below any
    score; None says nothing about it, as a ranking must: its scores are for the order within a group alone."""
    maximum_growth_megabytes: int | None = None
    """How much memory the candidate's process may take within a step, beyond what it had when the step began."""
    entities: int = 10_000
    """How many different entities ask within a step, about. Routing is sticky, so their number decides how closely
    the candidate's share of requests keeps to its weight; 1 says nothing about the share."""
    maximum_latency_ratio: float = 2.0
    """The candidate's 95th percentile over the stable slot's, in the same period."""
    latency_floor_milliseconds: float = 10.0
    """Below this the candidate's 95th percentile is never too slow."""
    label_metric: Metric | None = field(default_factory=lambda: Metric(name="log_loss", direction="lower", margin=0.01))
    """What both releases' labels are compared by, once enough have matured while it walks; None leaves it out."""
    minimum_matured: int = 1_000
    """Labels that either release needs before the label metric may decide; until then the other checks do alone."""

    @property
    def walk(self) -> tuple[int, ...]:
        """Percent of traffic at each step that the policy visits.

        >>> Canary().walk, Canary(policy="blue_green").walk, Canary(policy="ab", steps=(10, 60, 100)).walk
        ((5, 25, 50, 100), (100,), (10, 50, 100))
        """
        if self.policy == "blue_green":
            return (100,)
        if self.policy == "ab":
            return (*(step for step in self.steps if step < HALF), HALF, 100)
        return self.steps


@dataclass(frozen=True, kw_only=True)
class Drift:
    """When the served world counts as moved away from the one trained on."""

    window_days: int
    """The days up to the batch that are compared with the reference window."""
    minimum_rows: int
    effect_floor: float = 0.1
    """Population stability index below which a column has not moved, however certain it is that it differs."""
    false_alarms_per_quarter: float = 1.0
    """How many retrainings a model may be asked for in 91 days of a world that stands still."""
    persistent_batches: int = 2
    """In how many of the last `of_batches` the same column must have moved, the newest among them."""
    of_batches: int = 3
    cool_down_days: int
    """Days after a requested retraining in which no other is requested: alarms within them are one event."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """How much of what was served must come out the same when it is computed once more from the lake."""

    minimum_identical: float = 0.999
    """The share of vectors that are the same bits; each of the others needs a cause that is known."""


@dataclass(frozen=True, kw_only=True)
class Serving:
    """How a project answers predictions, and what any one key may ask of a slot."""

    deadline_milliseconds: int = 1_000
    """From a whole request's arrival: one whose turn comes later is refused with 503 and never scored."""
    requests_per_second: int = 10_000
    """Of one key, lasting; twice as many may come at once after a quiet time."""
    rows_per_day: int = 10_000_000
    """Of one key in a UTC day, explained ones included."""
    scan_values: int = 100
    """How many values of one input a key may try in an hour while all others stay, until that is reported; 0 is never."""
    round_scores: int | None = None
    """To how many decimals scores and contributions are answered; the log and the decision keep the whole number."""
    cache_seconds: int = 0
    """For how long an answer is given again to a request that differs in the event's id alone; 0 is not at all."""
    rule_baseline: bool = True
    """Answer by the project's rule, marked as degraded, where no verified release is left to answer."""
