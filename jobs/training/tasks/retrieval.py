"""Candidates: which of all items somebody is likely to take. A score is 1 over the place among all of them.

The first inputs are the item's own, the others what the viewer took, the latest first. Learned from positives alone,
which are the interactions of the project's entity; what was shown and not taken is as unknown as all the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.spec import Library, Model
from jobs.training.factors import ALS, Popularity
from jobs.training.learners import Examples, Learner
from jobs.training.retrieval_metrics import RETRIEVAL
from jobs.training.tasks.task import Flags, Labels, Scores, Task

if TYPE_CHECKING:
    from jobs.training.frame import Frame

LEARNERS: Mapping[Library, Learner] = {"als": ALS(), "popularity": Popularity()}


class Retrieval(Task):
    """The label is above 0 where the item was taken; the answer is its place among all there are."""

    name = "retrieval"
    metrics = RETRIEVAL
    headline = RETRIEVAL
    learners = LEARNERS
    distributed = ()
    starts = ({},)
    plots = ()
    separable = False

    def labels(self, column: Any) -> Labels:
        import pyarrow.compute as pc

        return np.asarray(pc.cast(column, "int64"), dtype=np.int64)

    def positive(self, label: Labels) -> Flags:
        return np.asarray(label > 0, dtype=np.bool_)

    def fault(self, label: Labels) -> str | None:
        return None if (label > 0).any() else f"have {len(label):,} rows of which nobody took anything"

    def propose(self, trial: Any, library: Library) -> dict[str, Any]:
        return {}

    def examples(self, model: Model, params: Mapping[str, Any], rows: Frame) -> Examples:
        order = np.argsort(rows.entity, kind="stable")
        sizes = np.unique(rows.entity[order], return_counts=True)[1]
        return Examples(x=rows.vectors[order], y=rows.label[order], groups=sizes, item=len(model.item))

    def of_library(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return dict(params)

    def thinned(self, rows: Frame, share: float, seed: int) -> Flags:
        """What was taken, of as many viewers as there are."""
        drawn = np.random.default_rng(seed).random(len(rows)) < share
        return np.asarray(self.positive(rows.label) | drawn, dtype=np.bool_)

    def entry(self, model: Model, params: Mapping[str, Any], thinned: float = 1.0) -> dict[str, Any]:
        return {"task": self.name, "item": list(model.item)}

    def calibrated(self, margins: Scores, entry: Mapping[str, Any], rows: Frame) -> dict[str, Any]:
        return dict(entry)

    def compared(self, trials: Sequence[Mapping[str, Any]], best: Mapping[str, Any], *, lower: bool) -> Any:
        return None

    def decisions(self, model: Model, label: Labels, scores: Scores) -> dict[str, Any]:
        """None: candidates are what is decided about later."""
        return {}
