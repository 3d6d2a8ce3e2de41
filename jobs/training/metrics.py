"""What scores are worth: every metric takes the same two things and is found by its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import SpecError
from jobs.release.probability import score_of
from jobs.training import ranking_metrics, retrieval_metrics
from jobs.training.binary_metrics import OF_ONE, card_precision
from jobs.training.class_metrics import OF_A_CLASS, OF_CLASSES

RESAMPLES = 400
_TOP = re.compile(r"card_precision_at_(\d+)\Z")
_OF_CLASS = re.compile(r"(average_precision|f1|recall)_of_class_(\d+)\Z")

Scores = NDArray[np.float64]
Weights = NDArray[np.float64]
"""How often each row counts; rows of one entity count equally often."""
Measure = Callable[[Weights], float]


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """What happened: labels, and the day and entity each row is about."""

    label: NDArray[Any]
    """As the task has it: whether it happened, a class, a grade."""
    event_time: NDArray[np.int64]
    """Microseconds since 1970 UTC."""
    entity: NDArray[np.int64]
    """A number from 0 for each entity: equal numbers are the same one."""
    group: NDArray[np.int64] | None = None
    """A number from 0 for each set of rows that are ranked together, where the task is to rank."""
    item: NDArray[np.int64] | None = None
    """The number of the item each row is about, where the task is to find items."""

    @property
    def unit(self) -> NDArray[np.int64]:
        """What a resample keeps or loses as a whole: the group, or without any the entity."""
        return self.entity if self.group is None else self.group

    @staticmethod
    def of_all(parts: Sequence[Outcomes]) -> Outcomes:
        """The parts one after the other; nothing of one is the same as anything of another."""

        def apart(codes: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
            shifts = np.cumsum([0, *(int(part.max(initial=-1)) + 1 for part in codes[:-1])])
            return np.concatenate([part + shift for part, shift in zip(codes, shifts, strict=True)])

        groups = [part.group for part in parts if part.group is not None]
        items = [part.item for part in parts if part.item is not None]
        return Outcomes(
            label=np.concatenate([part.label for part in parts]),
            event_time=np.concatenate([part.event_time for part in parts]),
            entity=apart([part.entity for part in parts]),
            group=apart(groups) if len(groups) == len(parts) else None,
            item=np.concatenate(items) if len(items) == len(parts) else None,
        )

    def take(self, rows: NDArray[Any]) -> Outcomes:
        """The outcomes of some rows."""
        return Outcomes(
            label=self.label[rows],
            event_time=self.event_time[rows],
            entity=self.entity[rows],
            group=None if self.group is None else self.group[rows],
            item=None if self.item is None else self.item[rows],
        )


def measure(name: str, outcomes: Outcomes, scores: Scores) -> float:
    """The metric's value, NaN where it is undefined (a single class); raises SpecError for an unknown name."""
    return prepared(name, outcomes, scores)(np.ones(len(scores)))


def measured(names: Iterable[str], outcomes: Outcomes, scores: Scores) -> dict[str, float | None]:
    """The metrics by name, None where one is undefined: JSON has no NaN."""
    values = {name: measure(name, outcomes, scores) for name in names}
    return {name: value if np.isfinite(value) else None for name, value in values.items()}


def resampled(
    name: str, outcomes: Outcomes, scores: Scores, *, seed: int, unit: NDArray[np.int64] | None = None
) -> Scores:
    """The metric in bootstrap resamples of the entities (or groups), which keep or lose all of their rows together.

    Rows of one entity are not independent of one another; resampling rows would claim to know too much. The
    same outcomes and seed give the same resamples, whatever the scores: two arrays of them are paired. Rows with the
    same number in `unit` belong together instead, where it is given.
    """
    value = prepared(name, outcomes, scores)
    if not len(scores):
        return np.full(RESAMPLES, np.nan)
    random = np.random.default_rng(seed)
    known, codes = np.unique(outcomes.unit if unit is None else unit, return_inverse=True)
    drawn = (np.bincount(random.integers(0, len(known), len(known)), minlength=len(known)) for _ in range(RESAMPLES))
    return np.array([value(counts[codes].astype(np.float64)) for counts in drawn])


def interval(
    name: str, outcomes: Outcomes, scores: Scores, *, seed: int, unit: NDArray[np.int64] | None = None
) -> tuple[float, float]:
    """The metric's 95 % interval, by bootstrap as `resampled` does it; NaN where it is undefined."""
    return middle(resampled(name, outcomes, scores, seed=seed, unit=unit))


def difference_intervals(
    name: str, outcomes: Outcomes, ours: Scores, rivals: Mapping[str, Scores], *, seed: int
) -> dict[str, dict[str, float]]:
    """For each rival: our metric minus theirs, and its 95 % interval by paired bootstrap of the entities."""
    drawn, value = resampled(name, outcomes, ours, seed=seed), measure(name, outcomes, ours)
    found = {}
    for rival, theirs in rivals.items():
        low, high = middle(drawn - resampled(name, outcomes, theirs, seed=seed))
        found[rival] = {"difference": value - measure(name, outcomes, theirs), "low": low, "high": high}
    return found


def middle(drawn: Scores) -> tuple[float, float]:
    """The middle 95 % of resampled values; NaN when none is defined."""
    if np.isnan(drawn).all():
        return float("nan"), float("nan")
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def of_class(count: int) -> tuple[str, ...]:
    """The names of what is reported of each of so many classes."""
    return tuple(f"{what}_of_class_{place}" for place in range(count) for what in ("f1", "recall", "average_precision"))


def prepared(name: str, outcomes: Outcomes, scores: Scores) -> Measure:
    """The metric as a function of how often each row counts, with all that does not depend on it done."""
    top = _TOP.match(name)
    if not np.isfinite(scores).all() or not len(scores):
        return lambda weights: float("nan")
    if ranking_metrics.known(name):
        if outcomes.group is None:
            raise SpecError(f"metric {name!r} is of rows that are ranked together, and the model declares no group")
        return ranking_metrics.prepared(name, outcomes.label, outcomes.group, scores)
    if retrieval_metrics.known(name):
        return retrieval_metrics.prepared(name, outcomes.label, outcomes.unit, scores, outcomes.item)
    if scores.ndim > 1:
        one = _OF_CLASS.match(name)
        if one:
            return OF_A_CLASS[one[1]](outcomes.label, scores, int(one[2]))
        if name in OF_CLASSES:
            return OF_CLASSES[name](outcomes.label, scores)
        outcomes, scores = replace(outcomes, label=outcomes.label > 0), score_of(scores)
    if not top and name not in OF_ONE:
        known = ", ".join(dict.fromkeys((*OF_ONE, *OF_CLASSES)))
        raise SpecError(f"no metric {name!r}; there are {known}, card_precision_at_K and f1_of_class_K")
    seen = (outcomes.label, outcomes.event_time, outcomes.entity)
    return card_precision(*seen, scores, int(top[1])) if top else OF_ONE[name](outcomes.label, scores)


MULTICLASS = (*OF_CLASSES, "average_precision", "roc_auc", "expected_calibration_error", "mean_prediction_ratio")
"""What is reported of several classes: from `average_precision` on, of all but the first as one."""
BINARY = (*OF_ONE, "card_precision_at_100")
"""What is reported of a yes or no."""
LOWER_IS_BETTER = frozenset(
    {"log_loss", "normalised_entropy", "brier", "expected_calibration_error", "false_positive_rate"}
)
