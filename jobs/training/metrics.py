"""What scores are worth: every metric takes the same three things and is found by its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.errors import SpecError

_TOP = re.compile(r"precision_at_(\d+)_per_day\Z")
_DAY = 86_400_000_000


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """What happened: labels, and the day and entity each row is about."""

    label: NDArray[np.bool_]
    event_time: NDArray[np.int64]
    entity: NDArray[np.int64]
    """A number for each entity: equal numbers are the same one."""

    def take(self, rows: NDArray[np.intp]) -> Outcomes:
        """The outcomes of some rows, with repetition."""
        return Outcomes(label=self.label[rows], event_time=self.event_time[rows], entity=self.entity[rows])


def measure(name: str, outcomes: Outcomes, scores: NDArray[np.float64]) -> float:
    """The metric's value, NaN where it is undefined (a single class); raises SpecError for an unknown name."""
    top = _TOP.match(name)
    if not top and name not in _METRICS:
        raise SpecError(f"no metric {name!r}; there are {', '.join(METRICS)} (and precision_at_K_per_day)")
    if not np.isfinite(scores).all():
        return float("nan")
    if top:
        return precision_at_top(outcomes, scores, int(top[1]))
    return _METRICS[name](outcomes.label, scores)


def measured(outcomes: Outcomes, scores: NDArray[np.float64]) -> dict[str, float | None]:
    """Every metric by name, None where it is undefined: JSON has no NaN."""
    values = {name: measure(name, outcomes, scores) for name in METRICS}
    return {name: value if np.isfinite(value) else None for name, value in values.items()}


def precision_at_top(outcomes: Outcomes, scores: NDArray[np.float64], k: int) -> float:
    """The mean over days of the share of positives among the day's k entities with the highest score."""
    days = outcomes.event_time // _DAY
    precisions = []
    for day in np.unique(days):
        rows = days == day
        entities, codes = np.unique(outcomes.entity[rows], return_inverse=True)
        highest = np.full(len(entities), -np.inf)
        np.maximum.at(highest, codes, scores[rows])
        positive = np.zeros(len(entities), dtype=bool)
        np.logical_or.at(positive, codes, outcomes.label[rows])
        precisions.append(positive[np.argsort(-highest, kind="stable")[:k]].mean())
    return float(np.mean(precisions)) if precisions else float("nan")


def difference_intervals(
    name: str,
    outcomes: Outcomes,
    ours: NDArray[np.float64],
    rivals: Mapping[str, NDArray[np.float64]],
    *,
    seed: int,
    resamples: int = 200,
) -> dict[str, dict[str, float]]:
    """For each rival: our metric minus theirs, and its 95 % interval from paired bootstrap resamples of the rows."""
    random = np.random.default_rng(seed)
    differences: dict[str, list[float]] = {rival: [] for rival in rivals}
    for _ in range(resamples if rivals else 0):
        rows = random.integers(0, len(ours), len(ours))
        drawn = outcomes.take(rows)
        value = measure(name, drawn, ours[rows])
        for rival, theirs in rivals.items():
            differences[rival].append(value - measure(name, drawn, theirs[rows]))
    value = measure(name, outcomes, ours)
    found = {}
    for rival, theirs in rivals.items():
        low, high = np.nanquantile(differences[rival], [0.025, 0.975])
        difference = value - measure(name, outcomes, theirs)
        found[rival] = {"difference": difference, "low": float(low), "high": float(high)}
    return found


def average_precision(label: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Area under the precision-recall steps; equal scores count together, as one step."""
    if not label.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    found, ranked = np.cumsum(label[order]), scores[order]
    ends = np.flatnonzero(np.append(np.diff(ranked) != 0, True))
    return float(np.sum(np.diff(found[ends], prepend=0) / found[-1] * found[ends] / (ends + 1)))


def roc_auc(label: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """The probability that a positive scores above a negative, ties counting half."""
    positives, negatives = int(label.sum()), int((~label).sum())
    if not positives or not negatives:
        return float("nan")
    _, codes, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[codes]
    return float((ranks[label].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def log_loss(label: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Mean negative log-likelihood, scores kept off 0 and 1 by 1e-15."""
    likely = np.clip(np.where(label, scores, 1 - scores), 1e-15, 1)
    return float(-np.log(likely).mean())


def _brier(label: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    return float(np.square(scores - label).mean())


def _prediction_ratio(label: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    return float(scores.mean() / label.mean()) if label.any() else float("nan")


_METRICS: Mapping[str, Callable[[NDArray[np.bool_], NDArray[np.float64]], float]] = {
    "average_precision": average_precision,
    "roc_auc": roc_auc,
    "log_loss": log_loss,
    "brier": _brier,
    "mean_prediction_ratio": _prediction_ratio,
}
METRICS = (*_METRICS, "precision_at_100_per_day")
LOWER_IS_BETTER = frozenset({"log_loss", "brier"})
