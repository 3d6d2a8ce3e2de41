"""What a model project is: values, with no clock, environment or orchestrator in them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from typing import Literal, TypeVar

from jobs.contradictions import contradictions
from jobs.errors import SpecError
from jobs.flags import Flags as Flags  # noqa: PLC0414
from jobs.policies import HALF as HALF  # noqa: PLC0414
from jobs.policies import Approval as Approval  # noqa: PLC0414
from jobs.policies import Canary as Canary  # noqa: PLC0414 - projects declare everything from here
from jobs.policies import Decision as Decision  # noqa: PLC0414
from jobs.policies import Drift as Drift  # noqa: PLC0414
from jobs.policies import Experiment as Experiment  # noqa: PLC0414
from jobs.policies import Gate as Gate  # noqa: PLC0414
from jobs.policies import Interleaving as Interleaving  # noqa: PLC0414
from jobs.policies import Metric as Metric  # noqa: PLC0414
from jobs.policies import Offers as Offers  # noqa: PLC0414
from jobs.policies import Replay as Replay  # noqa: PLC0414
from jobs.policies import Review as Review  # noqa: PLC0414
from jobs.policies import Rule as Rule  # noqa: PLC0414
from jobs.policies import Serving as Serving  # noqa: PLC0414
from jobs.policies import Threshold as Threshold  # noqa: PLC0414
from jobs.reasons import Reason as Reason  # noqa: PLC0414
from jobs.slices import Slice as Slice  # noqa: PLC0414
from jobs.sources import PREDICTIONS as PREDICTIONS  # noqa: PLC0414
from jobs.sources import Alias as Alias  # noqa: PLC0414
from jobs.sources import Column as Column  # noqa: PLC0414
from jobs.sources import ColumnType as ColumnType  # noqa: PLC0414
from jobs.sources import Format as Format  # noqa: PLC0414
from jobs.sources import Source as Source  # noqa: PLC0414

Library = Literal["rule", "logistic_regression", "xgboost", "lightgbm", "als", "popularity"]
Treatment = Literal["none", "weight", "sampling"]
TaskName = Literal["binary", "multiclass", "ranking", "retrieval"]
Function = Literal["count", "sum", "min", "max", "distinct", "last"]


@dataclass(frozen=True, kw_only=True)
class FeatureView:
    """A batch view: integer features of an entity, computed once a batch by the dbt mart `<project>_<name>`."""

    name: str
    entity: tuple[str, ...]
    features: tuple[str, ...]
    lookback_days: int
    """How many days of events before the end of the batch the mart reads."""
    lag: timedelta = timedelta(0)
    """From the end of the batch day until the value is visible, to training and serving alike."""
    ttl: timedelta = timedelta(days=3)
    """From becoming visible until the value is too old to use."""

    @property
    def schema(self) -> str:
        """A hash of the entity keys and features in their order: what a stored value's layout depends on."""
        return hashlib.sha256(repr((self.entity, self.features)).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Window:
    """One feature of a live view: a function of an entity's events in (t - delay - length, t - delay].

    Without a delay the event at t is itself included, and of the events at exactly t those whose id is not greater.
    """

    name: str
    function: Function
    length: timedelta
    column: str | None = None
    """An integer or boolean column of the events, or with `distinct` a text; only `count` has none."""
    delay: timedelta = timedelta(0)
    hop: timedelta | None = None
    """For keys with too many events: edges in the past are floored to it, and the store keeps a tile for each hop.

    None is exact: the store keeps the key's events of the longest window.
    """


@dataclass(frozen=True, kw_only=True)
class LiveView:
    """Trailing windows over an entity's events, up to date with the event that is scored; an empty window is 0."""

    name: str
    entity: tuple[str, ...]
    windows: tuple[Window, ...]
    events: str = "spine"
    """The dbt mart `<project>_<events>` that holds the events, published by event day with their id and time."""

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the windows."""
        return tuple(window.name for window in self.windows)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the events that the windows need, each once, in alphabetical order."""
        return tuple(sorted({window.column for window in self.windows if window.column}))

    @property
    def reach(self) -> timedelta:
        """How far before an event its oldest window begins."""
        return max(window.delay + window.length + (window.hop or timedelta(0)) for window in self.windows)

    @property
    def schema(self) -> str:
        """A hash of the entity keys and windows: what a stored value's layout and meaning depend on."""
        return hashlib.sha256(repr((self.entity, self.windows, self.events)).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Label:
    """What is predicted: a column of the dbt mart `<project>_spine`."""

    column: str
    delay_days: int
    """Days after the event by which its label is known for certain."""
    sparse: bool = False
    """Only some events ever get a label: trainings leave the others out, and do not refuse them."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Prequential: train days, a delay until their labels are known, test days; the same fold further back validates."""

    train_days: int
    delay_days: int
    test_days: int
    folds: int
    """How many earlier folds tune and calibrate. The newest tests on the last days of the final training window,
    which is as far back as their labels ask for; each other one is `test_days` further back."""
    drop_known: bool = False
    """Judge only entities without a known positive: those with one since the fold's training began and up to
    `delay_days` before a test day are removed from that day on, as if they had been stopped."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """One estimator of a project and how it is found."""

    name: str
    inputs: tuple[str, ...]
    """The names of the columns `features.request` returns, in their order."""
    baselines: tuple[Library, ...]
    learners: tuple[Library, ...]
    trials: int
    metric: str
    split: Split
    task: TaskName = "binary"
    """What it is asked for: the label, the metrics, the learners and the answers are the task's."""
    classes: tuple[str, ...] = ()
    """Of a multi-class model: what the label's numbers stand for; the first asks for nothing, all others are positive."""
    decisions: tuple[Decision, ...] = ()
    """Of a multi-class model: what may be decided, and what that costs in each class; the cheapest is chosen."""
    flags: Flags | None = None
    """The block of yes or no that its inputs end with."""
    group: str | None = None
    """Of a ranking: the request column that is the same in all rows which are ranked together."""
    item: tuple[str, ...] = ()
    """Of a retrieval: the request columns that are an item's own, its number first, then what new ones are told by;
    the inputs begin with them, and the others are the numbers of items that were taken, 0 for none."""
    place: str | None = None
    """Of a ranking that learns from clicks: the spine column of the place, from 1, at which a row was shown."""
    increasing: tuple[str, ...] = ()
    """Inputs of which more may only raise a tree's score: what is known beforehand keeps small windows honest."""
    imbalance: tuple[Treatment, ...] = ("none", "weight", "sampling")
    """Of a yes or no: how a tuning may treat rare positives: as they are, counted more often, or with negatives left
    out. What that does to the probabilities is undone before they are calibrated."""
    seed: int = 20_261_121
    reasons: tuple[Reason, ...] = field(default=(), repr=False)
    """The inputs in words, for `POST /<project>/explain`; other words are no other model."""

    @property
    def passed(self) -> str:
        """The decision that lets a row through."""
        return self.decisions[0].name if self.decisions else "approve"

    @property
    def told(self) -> tuple[str, ...]:
        """Its inputs as a person is told them: all flags are one."""
        return (*self.inputs[: -self.flags.numbers], self.flags.name) if self.flags else self.inputs


@dataclass(frozen=True, kw_only=True)
class Project:
    """A model project: everything the stages need to know to run one."""

    name: str
    title: str
    owner: str
    start: date
    """The first batch there can be."""
    schedule: str
    """When the daily batch is due, as a cron expression in UTC."""
    sources: tuple[Source, ...]
    tables: tuple[str, ...]
    """What `etl.clean` returns, each partitioned by event day."""
    views: tuple[FeatureView, ...]
    live_views: tuple[LiveView, ...]
    label: Label
    models: tuple[Model, ...]
    gate: Gate
    canary: Canary
    drift: Drift
    replay: Replay = field(default_factory=Replay)
    serving: Serving = field(default_factory=Serving)
    experiment: Experiment | Interleaving | None = None
    """How `tidemill experiment` compares a release with the champion on their labels: half of the entities each, or,
    of a ranking, both in one list."""
    offers: Offers | None = None
    """How lists are made of what its retrieval finds; None: a request names the items it asks about."""
    approval: Approval | None = None
    """Whether a person has to agree between gate and registry; None: the gate's verdict is enough."""
    review: Review | None = None
    """Which answers people look at (`tidemill review`); None: nobody does."""

    def __post_init__(self) -> None:
        faults = [f"- {fault}" for fault in contradictions(self, reserved=PREDICTIONS.name)]
        if faults:
            raise SpecError("\n".join([f"project {self.name!r} contradicts itself:", *faults]))

    def source(self, name: str) -> Source:
        """The declared source, or the prediction log; raises SpecError naming those there are."""
        return _find(f"project {self.name!r} has no source", name, (*self.sources, PREDICTIONS))

    def view(self, name: str) -> FeatureView:
        """The declared batch view; raises SpecError naming those there are."""
        return _find(f"project {self.name!r} has no feature view", name, self.views)

    @property
    def every_view(self) -> tuple[FeatureView | LiveView, ...]:
        """Batch and live views: what `features.request` is given."""
        return (*self.views, *self.live_views)

    @property
    def entity(self) -> str:
        """The entity key that metrics, stickiness and slices count by: the first of the first view."""
        return self.every_view[0].entity[0]

    def model(self, name: str) -> Model:
        """The declared model; raises SpecError naming those there are."""
        return _find(f"project {self.name!r} has no model", name, self.models)

    @property
    def digest(self) -> str:
        """SHA-256 of the whole declaration: what a run records to know which spec it used."""
        return hashlib.sha256(repr(asdict(self)).encode()).hexdigest()


_Named = TypeVar("_Named", Source, FeatureView, LiveView, Model)


def _find(what: str, name: str, known: Iterable[_Named]) -> _Named:
    known = tuple(known)
    for one in known:
        if one.name == name:
            return one
    raise SpecError(f"{what} {name!r}; it has {', '.join(one.name for one in known)}")
