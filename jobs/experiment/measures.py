"""A metric of a group of served events, with a variance that knows that an entity's events belong together; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.rollout.means import Sample
from jobs.spec import Metric

CLIPPED = 1e-6
"""How near to certain a score is taken to be at most: the log loss of a wrong certainty would be infinite."""


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Served events of one side whose label is known, a value of each array an event."""

    entity: NDArray[np.int64]
    score: NDArray[np.float64]
    label: NDArray[np.bool_]
    acted: NDArray[np.bool_]
    """Whether the decision was another than to approve."""
    degraded: NDArray[np.bool_]
    known: NDArray[np.int64]
    """When the label was known for certain, in days since 1970."""

    def __len__(self) -> int:
        return len(self.entity)

    @property
    def entities(self) -> int:
        """How many different ones there are."""
        return len(np.unique(self.entity))

    def by(self, day: int) -> Outcomes:
        """Those whose label was known by the end of a day."""
        return self._only(self.known <= day)

    def _only(self, rows: NDArray[np.bool_]) -> Outcomes:
        return Outcomes(**{name: values[rows] for name, values in vars(self).items()})


def values(metric: Metric, outcomes: Outcomes) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The metric's value of every event that it is about, and the events' entities."""
    label, acted = outcomes.label, outcomes.acted
    score = np.clip(outcomes.score, CLIPPED, 1 - CLIPPED)
    match metric.name:
        case "log_loss":
            found, about = -np.log(np.where(label, score, 1 - score)), np.ones(len(outcomes), dtype=bool)
        case "brier":
            found, about = (outcomes.score - label) ** 2, np.ones(len(outcomes), dtype=bool)
        case "caught":
            found, about = acted, label
        case "false_alarms":
            found, about = acted, ~label
        case "acted":
            found, about = acted, np.ones(len(outcomes), dtype=bool)
        case "positives":
            found, about = label, np.ones(len(outcomes), dtype=bool)
        case "degraded":
            found, about = outcomes.degraded, np.ones(len(outcomes), dtype=bool)
    return np.asarray(found, dtype=np.float64)[about], outcomes.entity[about]


def sample(metric: Metric, outcomes: Outcomes) -> Sample:
    """The metric's count of events, its mean and the variance of one event's value.

    What is assigned to a side is an entity with all of its events, which resemble one another. So the variance is the
    delta method's for a ratio of sums over entities (Deng, Knoblich and Lu 2018, section 3.1), times the count: divided
    by it, it is the mean's squared error. With one event for each entity it is the plain variance.
    """
    found, entity = values(metric, outcomes)
    count = len(found)
    if not count:
        return Sample(count=0, mean=math.nan, variance=math.nan)
    _, code = np.unique(entity, return_inverse=True)
    groups, mean = int(code.max()) + 1, float(found.mean())
    apart = np.bincount(code, weights=found - mean, minlength=groups)
    variance = float((apart**2).sum()) / count * groups / (groups - 1) if groups > 1 else math.nan
    return Sample(count=count, mean=mean, variance=variance)
