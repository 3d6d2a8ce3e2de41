"""A chosen configuration, learned: on every validation fold, calibrated on the newest, and on the final train days."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.features import vectors
from jobs.release.scorer import Scorer
from jobs.spec import Library, Model, Project
from jobs.training import distributed
from jobs.training.frame import Frame, TrainingFrame, outcomes_of
from jobs.training.metrics import measured
from jobs.training.splits import Fold
from jobs.training.tasks import task_of
from jobs.training.tasks.task import Task

Scores = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What is fitted: a library, its parameters and the treatment of imbalance, and how many rounds."""

    library: Library
    params: Mapping[str, Any]
    rounds: int = 1

    def learned(self, model: Model, rows: Frame) -> Any:
        """The library's model of some rows."""
        task = task_of(model)
        examples, params = task.examples(model, self.params, rows), task.of_library(self.params)
        return task.learners[self.library].fit(params, examples, self.rounds, model.seed)

    def of_fold(self, model: Model, frame: TrainingFrame, fold: Fold) -> Any:
        """The library's model of all rows a fold learns from, on Spark where they are too many and it can."""
        if frame.whole and self.library in frame.task.distributed:
            return distributed.fit(frame.whole, model, self.params, fold.train, self.rounds)
        return self.learned(model, frame.learned(fold))


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A fold's rows and their scores, by a model that learned from the fold's train days."""

    task: Task
    fold: Fold
    rows: Frame
    scores: Scores

    def measured(self) -> dict[str, float | None]:
        """Every metric of the task by name."""
        return measured(self.task.metrics, outcomes_of(self.rows), self.scores)


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """The final model's files, what its manifest entry says of it, and what the validation folds showed."""

    entry: dict[str, Any]
    importance: dict[str, float]
    validation: tuple[Judged, ...]
    """Calibrated scores, in the order of the plan's validation folds: newest first."""

    def mean(self) -> dict[str, float | None]:
        """Every metric's mean over the validation folds; None where one leaves it undefined."""
        found = [judged.measured() for judged in self.validation]
        columns = {name: [one[name] for one in found] for name in found[0]}
        return {
            name: float(np.mean([value for value in values if value is not None])) if None not in values else None
            for name, values in columns.items()
        }


def fit(project: Project, model: Model, configuration: Configuration, frame: TrainingFrame, folder: Path) -> Fitted:
    """The configuration fitted on the final train days, its files written to the folder.

    The calibration is chosen on the plan's calibration days by a model of that fold's train days, so it has
    seen neither of them.
    """
    entry: dict[str, Any] = {"name": model.name, "library": configuration.library, "inputs": list(model.inputs)}
    entry |= {"flags": model.flags.numbers} if model.flags else {}
    if configuration.library == "rule":
        return _ruled(project, frame, entry | {"file": None, "scorer_file": None})
    task = frame.task
    learner = task.learners[configuration.library]
    entry |= task.entry(model, configuration.params)

    @cache
    def scorer_of(fold: Fold) -> Scorer:
        with tempfile.TemporaryDirectory() as scratch:
            file = learner.save(configuration.of_fold(model, frame, fold), Path(scratch), model.name)
            return Scorer.load(scratch, {"models": [{**entry, "file": file}]})

    slice_of_time = frame.plan.calibration
    by = next(fold for fold in frame.plan.validation if fold.train == slice_of_time.train)
    held = frame.judged(slice_of_time)
    entry = task.calibrated(scorer_of(by).margins(held.vectors), entry, held)
    validation = []
    for fold in frame.plan.validation:
        rows, scorer = frame.judged(fold), scorer_of(fold)
        scorer.entry = entry
        validation.append(Judged(task=task, fold=fold, rows=rows, scores=scorer.score(rows.vectors)))
    final = configuration.of_fold(model, frame, frame.plan.final)
    entry["file"] = learner.save(final, folder, model.name)
    flags = model.flags.numbers if model.flags else 0
    entry["scorer_file"] = learner.export(final, folder, model.name, held.vectors, flags)
    return Fitted(entry=entry, importance=learner.importance(final, model.told, flags), validation=tuple(validation))


def score(project: Project, rows: Frame, folder: Path, entry: Mapping[str, Any]) -> Scores:
    """The scores of rows by a candidate: the project's rule, or its model through the bundle's scorer."""
    if entry["library"] == "rule":
        return np.asarray(vectors.rule(project)(rows.payload), dtype=np.float64)
    return Scorer.load(folder, {"models": [entry]}).score(rows.vectors)


def _ruled(project: Project, frame: TrainingFrame, entry: dict[str, Any]) -> Fitted:
    judged = []
    for fold in frame.plan.validation:
        rows = frame.judged(fold)
        judged.append(Judged(task=frame.task, fold=fold, rows=rows, scores=score(project, rows, Path(), entry)))
    return Fitted(entry=entry, importance={}, validation=tuple(judged))
