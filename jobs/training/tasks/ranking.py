"""An order: rows of a group, such as the documents found for a query, the most relevant first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from jobs.release.decisions import ORDER
from jobs.spec import Library, Model
from jobs.training import examination, ranking_plots
from jobs.training.learners import Examples, Learner, LightGBM, LogisticRegression, Params, XGBoost
from jobs.training.metrics import Outcomes
from jobs.training.ranking_metrics import RANKING
from jobs.training.tasks.task import Flags, Labels, Plot, Scores, Task

if TYPE_CHECKING:
    from jobs.training.frame import Frame

OBJECTIVES: Mapping[Library, tuple[str, ...]] = {
    "xgboost": ("rank:ndcg", "reg:squarederror", "rank:pairwise"),
    "lightgbm": ("lambdarank", "regression"),
}
"""What a tuning compares: the order within a group, weighed by what a swap is worth or not, or each row's grade by
itself, which few rows may teach better."""


class RelevantOrNot(LogisticRegression):
    """The linear baseline: whether a row is relevant at all, by itself."""

    def fit(self, params: Params, examples: Examples, rounds: int, seed: int) -> Any:
        return super().fit(params, replace(examples, y=examples.y > 0), rounds, seed)


class Pairs(XGBoost):
    """Begins with pairs and with forests: there are few groups, and what they teach depends much on the draw of rows."""

    forest: ClassVar[int] = 8
    start: ClassVar[Params] = {
        "max_depth": 4, "eta": 0.12, "min_child_weight": 0.3, "subsample": 0.6, "colsample_bynode": 0.3, "lambda": 1.0,
        "num_parallel_tree": forest, "objective": "rank:pairwise",
    }  # fmt: skip


class Order(LightGBM):
    """Begins with the order within a group."""

    start: ClassVar[Params] = {**LightGBM.start, "objective": "lambdarank"}


LEARNERS: Mapping[Library, Learner] = {
    "logistic_regression": RelevantOrNot(),
    "xgboost": Pairs(objective={"objective": "rank:ndcg", "base_score": 0.0}),
    "lightgbm": Order(objective={"objective": "lambdarank"}),
}


def _ndcg(path: Path, outcomes: Outcomes, scores: Mapping[str, Scores]) -> None:
    ranking_plots.by_depth(path, outcomes, scores)


def _places(path: Path, outcomes: Outcomes, scores: Mapping[str, Scores]) -> None:
    ranking_plots.by_place(path, outcomes, scores)


class Ranking(Task):
    """The label is a grade, 0 being irrelevant; the score orders the rows of a group and is no probability."""

    name = "ranking"
    metrics = RANKING
    headline = ("ndcg_at_10", "mean_average_precision", "mean_reciprocal_rank")
    learners = LEARNERS
    distributed = ()
    starts = ({},)
    plots = (
        Plot(name="ndcg", title="NDCG by depth", draw=_ndcg),
        Plot(name="places", title="Relevance by place", draw=_places),
    )

    def labels(self, column: Any) -> Labels:
        import pyarrow.compute as pc

        return np.asarray(pc.cast(column, "int64"), dtype=np.int64)

    def positive(self, label: Labels) -> Flags:
        return np.asarray(label > 0, dtype=np.bool_)

    def fault(self, label: Labels) -> str | None:
        if label.min() < 0 or (label > 30).any():  # gains are 2 ** label
            return f"have grades from {label.min()} to {label.max()}, not from 0 to 30"
        if len(found := np.unique(label)) < 2:
            return f"have a single grade: {len(label):,} rows of {found[0]}"
        return None

    def propose(self, trial: Any, library: Library) -> dict[str, Any]:
        objectives = OBJECTIVES.get(library)
        return {"objective": trial.suggest_categorical("objective", objectives)} if objectives else {}

    def examples(self, model: Model, params: Mapping[str, Any], rows: Frame) -> Examples:
        """The rows of each group one after the other; a group counts as much as the places of its positives say.

        That is the mean over them of 1 / examination, so that what was found far below, where hardly anybody looks, is
        not learned to be worth less (Joachims et al. 2017). Without places every group counts the same.
        """
        group = rows.group if rows.group is not None else np.arange(len(rows))
        order = np.argsort(group, kind="stable")
        _, codes, sizes = np.unique(group[order], return_inverse=True, return_counts=True)
        weight = None
        if rows.place is not None:
            found, place = self.positive(rows.label), rows.place
            examined = examination.examination(place, found, rows.vectors, seed=model.seed)
            positive, inverse = found[order], examination.weights(place, examined)[order]
            several = np.maximum(np.bincount(codes, positive), 1)
            weight = np.bincount(codes, inverse * positive) / several
            weight = np.where(np.bincount(codes, positive) > 0, weight, 1.0)[codes]
        return Examples(
            x=rows.vectors[order],
            y=rows.label[order],
            weight=weight,
            increasing=tuple(name in model.increasing for name in model.inputs) if model.increasing else (),
            groups=sizes,
        )

    def of_library(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return dict(params)

    def thinned(self, rows: Frame, share: float, seed: int) -> Flags:
        """Whole groups."""
        group = rows.group if rows.group is not None else np.arange(len(rows))
        kept = np.random.default_rng(seed).random(int(group.max(initial=0)) + 1) < share
        return np.asarray(kept[group], dtype=np.bool_)

    def entry(self, model: Model, params: Mapping[str, Any], thinned: float = 1.0) -> dict[str, Any]:
        return {"task": self.name}

    def calibrated(self, margins: Scores, entry: Mapping[str, Any], rows: Frame) -> dict[str, Any]:
        return dict(entry)

    def compared(self, trials: Sequence[Mapping[str, Any]], best: Mapping[str, Any], *, lower: bool) -> Any:
        return None

    def decisions(self, model: Model, label: Labels, scores: Scores) -> dict[str, Any]:
        """One and the same: an order is the answer."""
        return dict(ORDER)
