"""Yes or no: a calibrated probability, and thresholds that decide by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.release.probability import corrected
from jobs.spec import Library, Model
from jobs.training import calibration, imbalance, plots
from jobs.training.learners import Examples, Learner, LightGBM, LogisticRegression, XGBoost
from jobs.training.metrics import BINARY, Outcomes
from jobs.training.tasks.task import Flags, Labels, Plot, Scores, Task

if TYPE_CHECKING:
    from jobs.training.frame import Frame

REVIEW_SHARE = 0.02
"""The share of the validation rows that people have the time to look at: it sets the review threshold."""
DECLINE_PRECISION = 0.8
"""How sure a decline must be: of the validation rows scored as high, so many are positives."""
DECLINE_ROWS = 20
"""The fewest such rows that show it."""
# from the prior, rare positives weigh too little for a leaf's least weight
XGBOOST = XGBoost(objective={"objective": "binary:logistic", "base_score": 0.5})
LEARNERS: Mapping[Library, Learner] = {
    "logistic_regression": LogisticRegression(),
    "xgboost": XGBOOST,
    "lightgbm": LightGBM(objective={"objective": "binary"}),
}
_DAY = 86_400_000_000
_TREATED = {"positive_weight": 5.0, "negatives_kept": 0.3}


def _precision_recall(path: Path, outcomes: Outcomes, scores: Mapping[str, Scores]) -> None:
    plots.precision_recall(path, outcomes.label, scores)


def _calibration(path: Path, outcomes: Outcomes, scores: Mapping[str, Scores]) -> None:
    plots.calibration(path, outcomes.label, scores)


class Binary(Task):
    """The label is whether it happened; the score is the probability that it does."""

    name = "binary"
    metrics = BINARY
    headline = ("roc_auc", "average_precision", "card_precision_at_100")
    learners = LEARNERS
    distributed = ("xgboost",)
    treatments = imbalance.TREATMENTS
    starts = tuple({**_TREATED, "imbalance": treatment} for treatment in treatments)
    plots = (
        Plot(name="precision-recall", title="Precision and recall", draw=_precision_recall),
        Plot(name="calibration", title="Calibration", draw=_calibration),
    )

    def of(self, model: Model) -> Task:
        known = Binary()
        known.treatments = model.imbalance
        known.starts = tuple({**_TREATED, "imbalance": one} for one in model.imbalance)  # type: ignore[misc]
        return known

    def labels(self, column: Any) -> Labels:
        import pyarrow.compute as pc

        return np.asarray(pc.cast(column, "bool"), dtype=bool)

    def positive(self, label: Labels) -> Flags:
        return np.asarray(label, dtype=np.bool_)

    def fault(self, label: Labels) -> str | None:
        if label.all() or not label.any():
            return f"have a single class: {int(label.sum()):,} positives of {len(label):,} rows"
        return None

    def propose(self, trial: Any, library: Library) -> dict[str, Any]:
        return imbalance.propose(trial, self.treatments)

    def examples(self, model: Model, params: Mapping[str, Any], rows: Frame) -> Examples:
        chosen, weight = imbalance.treated(params, rows.label, model.seed)
        return Examples(
            x=rows.vectors[chosen],
            y=rows.label[chosen],
            weight=weight,
            increasing=tuple(name in model.increasing for name in model.inputs) if model.increasing else (),
            flags=model.flags.numbers if model.flags else 0,
        )

    def of_library(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in params.items() if name not in imbalance.NAMES}

    def thinned(self, rows: Frame, share: float, seed: int) -> Flags:
        drawn = np.random.default_rng(seed).random(len(rows)) < share
        return np.asarray(rows.label | drawn, dtype=np.bool_)

    def entry(self, model: Model, params: Mapping[str, Any], thinned: float = 1.0) -> dict[str, Any]:
        return {"task": self.name, "correction": imbalance.kept(params) * thinned}

    def calibrated(self, margins: Scores, entry: Mapping[str, Any], rows: Frame) -> dict[str, Any]:
        unbiased = corrected(margins, float(entry["correction"]))
        return {**entry, "calibration": calibration.choose(unbiased, rows.label, rows.event_time // _DAY)}

    def compared(self, trials: Sequence[Mapping[str, Any]], best: Mapping[str, Any], *, lower: bool) -> Any:
        return imbalance.compared(trials, best, lower=lower)

    def decisions(self, model: Model, label: Labels, scores: Scores) -> dict[str, Any]:
        """Review: the top 2 % of scores. Decline: the lowest score, at or above review, such that at least
        80 % of the rows from it upwards (and at least 20 rows) are positives; where there is none, 2.0:
        the model alone never declines. Rules come before both.
        """
        order = np.argsort(-scores, kind="stable")
        ranked, precision = scores[order], np.cumsum(label[order]) / np.arange(1, len(label) + 1)
        review = float(ranked[max(int(len(ranked) * REVIEW_SHARE) - 1, 0)])
        ends = np.append(np.diff(ranked) != 0, True)
        sure = ends & (precision >= DECLINE_PRECISION) & (np.arange(1, len(label) + 1) >= DECLINE_ROWS)
        sure &= ranked >= review
        decline = float(ranked[np.flatnonzero(sure)[-1]]) if sure.any() else 2.0
        return {
            "review": review,
            "decline": decline,
            "review_share": REVIEW_SHARE,
            "decline_precision": DECLINE_PRECISION,
        }
