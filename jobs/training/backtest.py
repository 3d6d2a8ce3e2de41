"""Trainings as they would have been, fold after fold: each knows only what was known when its test began."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from jobs.progress import Steps
from jobs.spec import Library, Model, Project
from jobs.training.fitting import Configuration, Fitted, fit, score
from jobs.training.frame import Frame, TrainingFrame, outcomes_of
from jobs.training.metrics import LOWER_IS_BETTER, interval, measured, middle, resampled
from jobs.training.tasks import task_of
from jobs.training.tuning import tune

Select = Literal["each", "once"]
Scores = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Backtest:
    """What a backtest is of, and where its parts are kept while it runs."""

    project: Project
    model: Model
    learners: tuple[Library, ...]
    """Of several, the one with the best validation is taken."""
    select: Select
    """`each`: every fold tunes on the folds before it. `once`: the first one does, and the others keep its choice."""
    studies: str
    """What the names of its Optuna studies begin with."""
    storage: str | Path
    """An Optuna URL, or a folder for journals."""
    scratch: Path
    """A folder for model files."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One fold: what was chosen, the fitted model and its scores of the test days."""

    frame: TrainingFrame
    configuration: Configuration
    fitted: Fitted
    folder: Path
    compared: Mapping[Library, float | None]
    """The mean validation metric of every learner that was tried."""
    test: Frame
    scores: Mapping[str, Scores]
    """`model`, and every baseline by its name."""

    def document(self, model: Model) -> dict[str, Any]:
        """The fold as JSON."""
        outcomes, task = outcomes_of(self.test), self.frame.task
        figures = {name: measured(task.metrics, outcomes, scores) for name, scores in self.scores.items()}
        intervals = {name: interval(name, outcomes, self.scores["model"], seed=model.seed) for name in task.headline}
        plan, calibration = self.frame.plan, self.fitted.entry.get("calibration", {})
        return {
            **plan.final.document(),
            "validation": [fold.document() for fold in plan.validation],
            "left_out": [fold.document() for fold in plan.left_out],
            "rows": len(self.test),
            "positives": int(task.positive(self.test.label).sum()),
            "learner": self.configuration.library,
            "params": dict(self.configuration.params),
            "rounds": self.configuration.rounds,
            "calibration": calibration.get("method", "none"),
            "compared": dict(self.compared),
            "metrics": figures.pop("model"),
            "intervals": {name: {"low": _known(low), "high": _known(high)} for name, (low, high) in intervals.items()},
            "baselines": figures,
        }


def run(backtest: Backtest, frames: Sequence[TrainingFrame], steps: Steps) -> Sequence[Trained]:
    """Every fold in its order, from the frames of their plans."""
    folds: list[Trained] = []
    for number, frame in enumerate(frames):
        steps.say(f"fold {number + 1} of {len(frames)}: train {frame.plan.final.train}, test {frame.plan.final.test}")
        kept = folds[0] if folds and backtest.select == "once" else None
        folds.append(_fold(backtest, number, frame, kept, steps))
    return folds


def document(backtest: Backtest, folds: Sequence[Trained]) -> dict[str, Any]:
    """`folds`, the `mean` and `std` over them with the `intervals` of the means, the baselines' means, and `frozen`.

    `std` is that of the folds themselves (divided by their number, as scikit-learn does). The interval of a
    mean is by bootstrap of the entities within each fold.
    """
    described, names = [fold.document(backtest.model) for fold in folds], task_of(backtest.model).headline
    drawn = {
        name: np.mean(
            [resampled(name, outcomes_of(one.test), one.scores["model"], seed=backtest.model.seed) for one in folds],
            axis=0,
        )
        for name in names
    }
    intervals = {name: middle(values) for name, values in drawn.items()}
    baselines: dict[str, Any] = {}
    for library in described[0]["baselines"]:
        figures = [one["baselines"][library] for one in described]
        baselines[library] = {"mean": _over(names, figures, np.mean), "std": _over(names, figures, np.std)}
    return {
        "project": backtest.project.name,
        "model": backtest.model.name,
        "select": backtest.select,
        "folds": described,
        "mean": _over(names, [one["metrics"] for one in described], np.mean),
        "std": _over(names, [one["metrics"] for one in described], np.std),
        "intervals": {name: {"low": _known(low), "high": _known(high)} for name, (low, high) in intervals.items()},
        "baselines": baselines,
        "frozen": list(_frozen(backtest, folds, described)),
    }


def _fold(backtest: Backtest, number: int, frame: TrainingFrame, kept: Trained | None, steps: Steps) -> Trained:
    project, model = backtest.project, backtest.model
    tried: dict[Library, tuple[Configuration, Fitted, Path]] = {}
    for library in (kept.configuration.library,) if kept else backtest.learners:
        configuration = kept.configuration if kept else _tuned(backtest, library, frame, steps)
        folder = backtest.scratch / f"{number}-{library}"
        folder.mkdir(parents=True)
        tried[library] = (configuration, fit(project, model, configuration, frame, folder), folder)
        steps.advance()
    sign = -1.0 if model.metric in LOWER_IS_BETTER else 1.0
    compared = {library: fitted.mean()[model.metric] for library, (_, fitted, _) in tried.items()}
    known = {library: sign * value if value is not None else -np.inf for library, value in compared.items()}
    configuration, fitted, folder = tried[max(tried, key=lambda library: known[library])]
    test = frame.of("test")
    scores = {"model": score(project, test, folder, fitted.entry)}
    for library in model.baselines:
        other = backtest.scratch / f"{number}-{library}-baseline"
        other.mkdir()
        entry = fit(project, model, Configuration(library=library, params={}), frame, other).entry
        scores[library] = score(project, test, other, entry)
        steps.advance()
    return Trained(
        frame=frame, configuration=configuration, fitted=fitted, folder=folder, compared=compared, test=test, scores=scores
    )  # fmt: skip


def _tuned(backtest: Backtest, library: Library, frame: TrainingFrame, steps: Steps) -> Configuration:
    model, first = backtest.model, frame.plan.final.train.first
    place = backtest.storage if isinstance(backtest.storage, str) else backtest.storage / f"{first}-{library}.log"
    if library not in model.learners:
        return Configuration(library=library, params={})
    study = f"{backtest.studies}/{first}/{library}"
    return tune(model, library, frame, study=study, storage=place, progress=steps.advance).configuration


def _frozen(backtest: Backtest, folds: Sequence[Trained], described: Sequence[Mapping[str, Any]]) -> Iterable[Any]:
    """The first fold's model on each later fold's test rows, beside the model that was trained for them."""
    first = folds[0]
    for fold, retrained in zip(folds[1:], described[1:], strict=True):
        scores = score(backtest.project, fold.test, first.folder, first.fitted.entry)
        yield {
            "test": retrained["test"],
            "age_days": (fold.frame.plan.final.test.first - first.frame.plan.final.test.first).days,
            "metrics": measured(fold.frame.task.metrics, outcomes_of(fold.test), scores),
            "retrained": retrained["metrics"],
        }


def _over(names: Sequence[str], figures: Sequence[Mapping[str, Any]], take: Any) -> dict[str, float | None]:
    columns = {name: [one[name] for one in figures] for name in names}
    return {name: None if None in values else float(take(values)) for name, values in columns.items()}


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
