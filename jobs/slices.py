"""Groups of rows that a model must be good on by themselves, and what such a declaration must not say."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from dataclasses import dataclass

Value = str | bool | int | float


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The groups that a column divides the hold-out into, by bands of its numbers or by its values."""

    name: str
    column: str
    """An input of the model, or a column of the request."""
    edges: tuple[float, ...] = ()
    """Bands: below the first edge, from each edge up to the next, from the last edge upwards."""
    values: tuple[Value, ...] = ()
    """Or a group for each value; a row with another is in no group."""
    by: str | None = None
    """What its groups are about where that is not the project's entity, as a column of the request: a few new ads tell
    no more than a few, however often they are shown, so its intervals keep or lose each with all of its rows."""
    labels: tuple[str, ...] = ()
    """What the groups are called, in their order; by default by their edges or values."""
    metric: str = "roc_auc"
    minimum: float | None = None
    """The gate refuses when the metric's interval in a group, 95 % for all groups together, lies below it."""
    maximum: float | None = None
    """Or above it, for a metric that is better when lower."""
    maximum_gap: float | None = None
    """The gate refuses when two groups' figures surely differ by more: its fairness, whatever the level."""
    minimum_rows: int = 200
    minimum_positives: int = 20
    """A group with fewer rows, positives or negatives is too small to judge: it is listed, and decides nothing."""

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups' names, in the order of the edges or values."""
        if self.labels:
            return self.labels
        if self.values:
            return tuple(str(value) for value in self.values)
        edges = [f"{edge:g}" for edge in self.edges]
        between = [f"{low} to {high}" for low, high in itertools.pairwise(edges)]
        return (f"below {edges[0]}", *between, f"{edges[-1]} and more")


def faults_of_slices(slices: Iterable[Slice], columns: Collection[str]) -> Iterable[str]:
    """A sentence for each fault of a project's slices; `columns` are the request's and those all models take."""
    seen: set[str] = set()
    for one in slices:
        if one.name in seen:
            yield f"slice {one.name!r} is declared twice"
        seen.add(one.name)
        for fault in _faults(one, columns):
            yield f"slice {one.name!r} {fault}"


def _faults(one: Slice, columns: Collection[str]) -> Iterable[str]:
    if one.column not in columns:
        yield f"is by {one.column!r}, which is neither in a request nor an input of every model"
    if one.by is not None and one.by not in columns:
        yield f"is about {one.by!r}, which is neither in a request nor an input of every model"
    if bool(one.edges) == bool(one.values):
        yield "needs either edges or values"
        return
    if list(one.edges) != sorted(set(one.edges)):
        yield f"has edges {one.edges}, which do not rise"
    if len(set(one.values)) != len(one.values):
        yield "has a value twice"
    groups = len(one.values) or len(one.edges) + 1
    if one.labels and (len(one.labels) != groups or len(set(one.labels)) != groups):
        yield f"has {groups} groups and needs as many different labels, not {one.labels}"
    if one.minimum is one.maximum is one.maximum_gap is None:
        yield f"bounds nothing: it needs a minimum or a maximum of its {one.metric}, or a gap"
    if one.maximum_gap is not None and one.maximum_gap < 0:
        yield f"has a maximum_gap of {one.maximum_gap}; no gap is smaller than 0"
    if one.minimum_rows < 1 or one.minimum_positives < 1:
        yield "judges groups without a row or a positive: both minimums must be at least 1"
