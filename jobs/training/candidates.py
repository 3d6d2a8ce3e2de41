"""One candidate: a baseline or a tuned learner, trained on a snapshot and published beside it."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from jobs.release import bits, probability
from jobs.release.probability import score_of
from jobs.settings import Settings
from jobs.spec import Library, Model, Project
from jobs.storage import Published, digest_code, digest_of, publish
from jobs.training import (
    binary_metrics,
    calibration,
    class_calibration,
    class_metrics,
    distributed,
    examination,
    exports,
    factors,
    fitting,
    imbalance,
    learners,
    metrics,
    plots,
    ranking_metrics,
    retrieval_metrics,
    splits,
    tuning,
)  # fmt: skip
from jobs.training.fitting import Configuration, Fitted, Judged, fit
from jobs.training.frame import TrainingFrame, outcomes_of, read_frame
from jobs.training.metrics import Outcomes
from jobs.training.tasks import binary, multiclass, ranking, retrieval
from jobs.training.tasks.task import Task
from jobs.training.tuning import Tuned, tune


@dataclass(frozen=True, kw_only=True)
class Run:
    """A training run, as all of its candidates share it."""

    project: Project
    settings: Settings
    name: str
    folder: Path
    snapshot: Published


@dataclass(frozen=True, kw_only=True)
class Training:
    """One of a run's models, and its frame, read when the first candidate needs it."""

    run: Run
    model: Model

    @cached_property
    def frame(self) -> TrainingFrame:
        return read_frame(self.run.project, self.model, self.run.snapshot, self.run.settings)

    def partition(self, library: Library) -> Path:
        """Where a candidate is published."""
        return self.run.folder / "candidates" / self.model.name / library


def train_candidate(training: Training, library: Library, progress: Callable[[], None] = lambda: None) -> Published:
    """The published candidate: model files, `training.json`, `validation.parquet` and plots."""
    model, snapshot = training.model, training.run.snapshot
    inputs = {"snapshot": snapshot.digest, "model": digest_of(repr(model)), "library": library, "code": code()}
    inputs |= distributed.inputs_of(training.run.project, model, snapshot, training.run.settings)

    def write(folder: Path) -> int:
        frame = training.frame
        tuned = _tuned(training, library, digest_of(inputs), progress) if library in model.learners else None
        configuration = tuned.configuration if tuned else Configuration(library=library, params={})
        fitted = fit(training.run.project, model, configuration, frame, folder)
        document: dict[str, Any] = {
            "model": fitted.entry,
            "params": dict(configuration.params),
            "rounds": configuration.rounds if tuned else None,
            "trials": tuned.trials if tuned else [],
            "imbalance": tuned.imbalance if tuned else None,
            "importance": fitted.importance,
            "validation": fitted.mean(),
            "folds": [judged.fold.document() | {"metrics": judged.measured()} for judged in fitted.validation],
            "rows": {"train": len(frame.of("train")), "validation": sum(len(one.rows) for one in fitted.validation)},
            "snapshot": snapshot.digest,
        }
        _draw(folder, library, frame.task, fitted)
        _write_scores(folder / "validation.parquet", fitted.validation)
        (folder / "training.json").write_text(json.dumps(document, indent=1, allow_nan=False))
        return int(document["rows"]["train"])

    return publish(training.partition(library), write, inputs=inputs, watermark=snapshot.manifest.watermark)


def read_training(candidate: Published) -> dict[str, Any]:
    """The candidate's `training.json`."""
    document: dict[str, Any] = json.loads((candidate.folder / "training.json").read_bytes())
    return document


def code() -> str:
    """A digest of the code and packages that decide what comes of a configuration and a frame."""
    modules = (
        binary,
        binary_metrics,
        bits,
        calibration,
        class_calibration,
        class_metrics,
        distributed,
        examination,
        exports,
        factors,
        fitting,
        imbalance,
        learners,
        metrics,
        multiclass,
        plots,
        probability,
        ranking,
        ranking_metrics,
        retrieval,
        retrieval_metrics,
        splits,
        tuning,
    )
    packages = ("xgboost", "lightgbm", "scikit-learn", "optuna", "onnxmltools", "numpy")
    return digest_of([digest_code(*modules), {name: importlib.metadata.version(name) for name in packages}])


def _tuned(training: Training, library: Library, digest: str, progress: Callable[[], None]) -> Tuned:
    run, model = training.run, training.model
    url = run.settings.optuna_url.get_secret_value() if run.settings.optuna_url else None
    return tune(
        model,
        library,
        training.frame,
        study=f"{run.project.name}/{run.name}/{model.name}/{library}/{digest[:12]}",
        storage=url or run.folder / "tuning" / f"{model.name}-{library}.log",
        progress=progress,
    )


def _draw(folder: Path, library: str, task: Task, fitted: Fitted) -> None:
    happened = Outcomes.of_all([outcomes_of(one.rows) for one in fitted.validation])
    scores = {library: np.concatenate([one.scores for one in fitted.validation])}
    for plot in task.plots:
        plot.draw(folder / f"{plot.name}.png", happened, scores)
    if fitted.importance:
        plots.importance(folder / "importance.png", fitted.importance)


def _write_scores(path: Path, validation: Sequence[Judged]) -> None:
    """A row for each judged row of every validation fold, oldest fold first."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    ordered = sorted(validation, key=lambda judged: judged.fold.test.first)
    table = pa.table(
        {
            "event_id": pa.array(np.concatenate([one.rows.event_id for one in ordered]), pa.string()),
            "event_time": pa.array(
                np.concatenate([one.rows.event_time for one in ordered]), pa.timestamp("us", tz="UTC")
            ),
            "label": np.concatenate([one.rows.label for one in ordered]),
            "score": score_of(np.concatenate([one.scores for one in ordered])),
        }
    )
    pq.write_table(table, path)
