"""One of several classes: calibrated probabilities, the class a row is said to be of, and decisions by their cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.release.probability import score_of
from jobs.spec import Library, Model
from jobs.training import class_calibration, plots
from jobs.training.learners import Examples, Learner, LightGBM, LogisticRegression, XGBoost
from jobs.training.metrics import MULTICLASS, Outcomes, of_class
from jobs.training.tasks.task import Flags, Labels, Plot, Scores, Task

if TYPE_CHECKING:
    from jobs.training.frame import Frame

LEARNERS: Mapping[Library, Learner] = {
    "logistic_regression": LogisticRegression(),
    # the same base for every class: a base of each own could not be told apart from leaves
    "xgboost": XGBoost(objective={"objective": "multi:softprob", "base_score": 0.5}),
    "lightgbm": LightGBM(objective={"objective": "multiclass"}),
}
_DAY = 86_400_000_000


def _precision_recall(path: Path, outcomes: Outcomes, scores: Mapping[str, Scores]) -> None:
    plots.precision_recall(path, outcomes.label > 0, {name: score_of(one) for name, one in scores.items()})


def _calibration(path: Path, outcomes: Outcomes, scores: Mapping[str, Scores]) -> None:
    plots.calibration(path, outcomes.label > 0, {name: score_of(one) for name, one in scores.items()})


class Multiclass(Task):
    """The label is the place of a class; scores are its probabilities and the class that a row is said to be of.

    Its positives are all classes but the first.
    """

    name = "multiclass"
    metrics = MULTICLASS
    headline = ("macro_f1", "worst_class_recall", "log_loss")
    learners = LEARNERS
    distributed = ()
    starts = ({},)
    plots = (
        Plot(
            name="precision-recall", title="Precision and recall of all classes but the first", draw=_precision_recall
        ),
        Plot(name="calibration", title="Calibration of the same", draw=_calibration),
    )

    def of(self, model: Model) -> Task:
        known = Multiclass()
        known.metrics = (*MULTICLASS, *of_class(len(model.classes)))  # type: ignore[misc]
        return known

    def labels(self, column: Any) -> Labels:
        import pyarrow.compute as pc

        return np.asarray(pc.cast(column, "int64"), dtype=np.int64)

    def logged(self, rows: Any) -> Scores:
        import json

        told = rows.column("classes").to_pylist() if "classes" in rows.column_names else [None] * len(rows)
        answers = [json.loads(one) for one in told if one]
        scores = np.full((len(told), len(answers[0]) if answers else 2), np.nan)
        if answers:
            scores[[place for place, one in enumerate(told) if one]] = answers
        return scores

    def positive(self, label: Labels) -> Flags:
        return np.asarray(label > 0, dtype=np.bool_)

    def fault(self, label: Labels) -> str | None:
        if len(found := np.unique(label)) < 2:
            return f"have a single class: {len(label):,} rows of class {', '.join(map(str, found))}"
        return None

    def propose(self, trial: Any, library: Library) -> dict[str, Any]:
        return {}

    def examples(self, model: Model, params: Mapping[str, Any], rows: Frame) -> Examples:
        return Examples(
            x=rows.vectors,
            y=rows.label,
            increasing=tuple(name in model.increasing for name in model.inputs) if model.increasing else (),
            flags=model.flags.numbers if model.flags else 0,
            classes=len(model.classes),
        )

    def of_library(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return dict(params)

    def thinned(self, rows: Frame, share: float, seed: int) -> Flags:
        drawn = np.random.default_rng(seed).random(len(rows)) < share
        return np.asarray((rows.label > 0) | drawn, dtype=np.bool_)

    def entry(self, model: Model, params: Mapping[str, Any], thinned: float = 1.0) -> dict[str, Any]:
        return {"task": self.name, "classes": list(model.classes)}

    def calibrated(self, margins: Scores, entry: Mapping[str, Any], rows: Frame) -> dict[str, Any]:
        calibration = class_calibration.choose(margins, rows.label, rows.event_time // _DAY)
        chosen = {**entry, "calibration": calibration}
        return {**chosen, "weights": class_calibration.weights(margins, chosen, rows.label)}

    def compared(self, trials: Sequence[Mapping[str, Any]], best: Mapping[str, Any], *, lower: bool) -> Any:
        return None

    def decisions(self, model: Model, label: Labels, scores: Scores) -> dict[str, Any]:
        """The declared costs: a release decides as its gate saw it, whatever is declared later."""
        return {"costs": {decision.name: list(decision.costs) for decision in model.decisions}}
