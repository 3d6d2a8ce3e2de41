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
from jobs.training.class_metrics import SAID, f1_of, recall_of

RESAMPLES = 400
BINS = 20
"""Of equally many rows each, for the expected calibration error."""
_TOP = re.compile(r"card_precision_at_(\d+)\Z")
_OF_CLASS = re.compile(r"(average_precision|f1|recall)_of_class_(\d+)\Z")
_DAY = 86_400_000_000

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


def average_precision(label: NDArray[np.bool_], scores: Scores) -> float:
    """Area under the precision-recall steps; equal scores count together, as one step."""
    return _average_precision(label, scores)(np.ones(len(scores)))


def roc_auc(label: NDArray[np.bool_], scores: Scores) -> float:
    """The probability that a positive scores above a negative, ties counting half."""
    return _roc_auc(label, scores)(np.ones(len(scores)))


def log_loss(label: NDArray[np.bool_], scores: Scores) -> float:
    """Mean negative log-likelihood, scores kept off 0 and 1 by 1e-15."""
    return float(_losses(label, scores).mean())


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
            return _OF_ONE[one[1]](outcomes.label, scores, int(one[2]))
        if name in _MULTICLASS:
            return _MULTICLASS[name](outcomes.label, scores)
        outcomes, scores = replace(outcomes, label=outcomes.label > 0), score_of(scores)
    if not top and name not in _METRICS:
        known = ", ".join(dict.fromkeys((*_METRICS, *_MULTICLASS)))
        raise SpecError(f"no metric {name!r}; there are {known}, card_precision_at_K and f1_of_class_K")
    return _card_precision(outcomes, scores, int(top[1])) if top else _METRICS[name](outcomes.label, scores)


def _average_precision(label: NDArray[np.bool_], scores: Scores) -> Measure:
    order = np.argsort(-scores, kind="stable")
    positive, ends = label[order].astype(np.float64), np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))

    def value(weights: Weights) -> float:
        counts = weights[order]
        found, seen = np.cumsum(counts * positive)[ends], np.cumsum(counts)[ends]
        if not found[-1]:
            return float("nan")
        precision = np.divide(found, seen, out=np.zeros(len(seen)), where=seen > 0)
        return float(np.sum(np.diff(found, prepend=0) * precision) / found[-1])

    return value


def _roc_auc(label: NDArray[np.bool_], scores: Scores) -> Measure:
    _, codes = np.unique(scores, return_inverse=True)
    positive = label.astype(np.float64)

    def value(weights: Weights) -> float:
        ours = np.bincount(codes, weights * positive)
        others = np.bincount(codes, weights * (1 - positive))
        pairs = ours.sum() * others.sum()
        return float(np.sum(ours * (np.cumsum(others) - others / 2)) / pairs) if pairs else float("nan")

    return value


def _log_loss(label: NDArray[np.bool_], scores: Scores) -> Measure:
    losses = _losses(label, scores)
    return lambda weights: float(losses @ weights / weights.sum())


def _normalised_entropy(label: NDArray[np.bool_], scores: Scores) -> Measure:
    """The mean log loss over that of the share of positives as everybody's score (He et al. 2014, section 3, equation 1).

    Below 1 a model knows more than how often it happens; unlike a log loss it compares samples of different shares.
    """
    losses, positive = _losses(label, scores), label.astype(np.float64)

    def value(weights: Weights) -> float:
        share = float(positive @ weights / weights.sum())
        if not 0 < share < 1:
            return float("nan")
        entropy = -(share * np.log(share) + (1 - share) * np.log(1 - share))
        return float(losses @ weights / weights.sum() / entropy)

    return value


def _losses(label: NDArray[np.bool_], scores: Scores) -> Scores:
    return np.asarray(-np.log(np.clip(np.where(label, scores, 1 - scores), 1e-15, 1)), dtype=np.float64)


def _brier(label: NDArray[np.bool_], scores: Scores) -> Measure:
    squares = np.square(scores - label)
    return lambda weights: float(squares @ weights / weights.sum())


def _prediction_ratio(label: NDArray[np.bool_], scores: Scores) -> Measure:
    """The mean score over the share of positives."""
    positive = label.astype(np.float64)

    def value(weights: Weights) -> float:
        happened = positive @ weights
        return float(scores @ weights / happened) if happened else float("nan")

    return value


def _calibration_error(label: NDArray[np.bool_], scores: Scores) -> Measure:
    """Sum over bins of (share of rows in it) * |mean score - share of positives| (Naeini et al. 2015).

    The bins hold equally many rows by rank (as in Nguyen and O'Connor 2015), because the scores of rare
    positives crowd together near 0; equal scores are in one bin.
    """
    _, codes, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts + 1) / 2
    bins = (ranks * BINS // len(scores)).astype(np.int64)[codes]
    gaps = scores - label
    return lambda weights: float(np.abs(np.bincount(bins, gaps * weights)).sum() / weights.sum())


def _card_precision(outcomes: Outcomes, scores: Scores, k: int) -> Measure:
    """The handbook's card precision top-k: the mean over days of the share of positives among a day's k entities.

    An entity counts with its highest score of the day and is positive if any of its rows that day is; one
    that was found is no longer looked at on later days (chapter 4.4, "Precision top-k metrics"). Equal
    scores are ordered by the entity's number.
    """
    known, codes = np.unique(outcomes.entity, return_inverse=True)
    some = np.zeros(len(known), dtype=np.int64)
    some[codes] = np.arange(len(codes))
    days = outcomes.event_time // _DAY
    ranked = []
    for day in np.unique(days):
        rows = np.flatnonzero(days == day)
        entities, places = np.unique(codes[rows], return_inverse=True)
        highest = np.full(len(entities), -np.inf)
        np.maximum.at(highest, places, scores[rows])
        positive = np.zeros(len(entities), dtype=bool)
        np.logical_or.at(positive, places, outcomes.label[rows])
        order = np.argsort(-highest, kind="stable")
        ranked.append((entities[order], positive[order]))

    def value(weights: Weights) -> float:
        counts, found = weights[some], np.zeros(len(known), dtype=bool)
        precisions = []
        for entities, positive in ranked:
            left = ~found[entities]
            entities, positive = entities[left], positive[left]  # noqa: PLW2901 - what is still looked at
            many = counts[entities]
            taken = np.clip(k - (np.cumsum(many) - many), 0, many)
            precisions.append(float(taken @ positive) / k)
            found[entities[positive & (taken > 0)]] = True
        return float(np.mean(precisions)) if precisions else float("nan")

    return value


def _macro_average_precision(label: NDArray[np.int64], scores: Scores) -> Measure:
    each = [_average_precision(label == place, scores[:, place]) for place in range(scores.shape[1] - 1)]
    return lambda weights: float(np.mean([one(weights) for one in each]))


def _average_precision_of(label: NDArray[np.int64], scores: Scores, place: int) -> Measure:
    return _average_precision(label == place, scores[:, place])


_OF_ONE = {"f1": f1_of, "recall": recall_of, "average_precision": _average_precision_of}
_MULTICLASS: Mapping[str, Callable[[NDArray[np.int64], Scores], Measure]] = {
    **SAID,
    "macro_average_precision": _macro_average_precision,
}
MULTICLASS = (*_MULTICLASS, "average_precision", "roc_auc", "expected_calibration_error", "mean_prediction_ratio")
"""What is reported of several classes: from `average_precision` on, of all but the first as one."""
_METRICS: Mapping[str, Callable[[NDArray[np.bool_], Scores], Measure]] = {
    "average_precision": _average_precision,
    "roc_auc": _roc_auc,
    "log_loss": _log_loss,
    "normalised_entropy": _normalised_entropy,
    "brier": _brier,
    "mean_prediction_ratio": _prediction_ratio,
    "expected_calibration_error": _calibration_error,
}
BINARY = (*_METRICS, "card_precision_at_100")
"""What is reported of a yes or no."""
LOWER_IS_BETTER = frozenset(
    {"log_loss", "normalised_entropy", "brier", "expected_calibration_error", "false_positive_rate"}
)
