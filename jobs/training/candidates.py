"""One candidate: a baseline or a tuned learner, trained on a snapshot and published beside it."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.projects import hook
from jobs.release.scorer import Scorer
from jobs.settings import Settings
from jobs.spec import Library, Model, Project
from jobs.storage import Published, digest_file, digest_of, publish
from jobs.training import plots
from jobs.training.frame import Frame, TrainingFrame, outcomes_of
from jobs.training.learners import LEARNERS, save_logistic_regression
from jobs.training.metrics import measured
from jobs.training.tuning import Tuned, tune

_CODE = ("learners.py", "tuning.py", "candidates.py", "metrics.py", "plots.py")
Scores = NDArray[np.float64]


def score_frame(project: Project, frame: Frame, folder: Path, entry: dict[str, Any]) -> Scores:
    """The scores of a frame's rows by a candidate: the project's rule, or its model through the bundle's scorer."""
    if entry["library"] == "rule":
        return np.asarray(hook(project, "features").rule(frame.payload), dtype=np.float64)
    return Scorer.load(folder, {"models": [entry]}).score(frame.vectors)


def inputs_of(model: Model, library: str, snapshot: Published) -> dict[str, str]:
    """What a candidate is made from: equal inputs are not trained again."""
    code = {name: digest_file(Path(__file__).parent / name) for name in _CODE}
    packages = ("xgboost", "lightgbm", "scikit-learn", "optuna", "onnxmltools", "numpy")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {
        "snapshot": snapshot.digest,
        "model": digest_of(repr(model)),
        "library": library,
        "code": digest_of([code, versions]),
    }


def train_candidate(
    project: Project,
    settings: Settings,
    model: Model,
    library: Library,
    frame: Callable[[], TrainingFrame],
    *,
    run: str,
    snapshot: Published,
    partition: Path,
    progress: Callable[[], None] = lambda: None,
) -> Published:
    """The published candidate: model files, `training.json`, `validation.parquet` and plots.

    The model that is kept learned from the train and the validation part; the validation figures are
    those of the same configuration learned from the train part alone.
    """
    inputs = inputs_of(model, library, snapshot)

    def write(folder: Path) -> int:
        data = frame()
        train, validation = data.learned(data.plan.calibration), data.judged(data.plan.calibration)
        both = data.of("train")
        entry: dict[str, Any] = {"name": model.name, "library": library, "inputs": list(model.inputs)}
        document: dict[str, Any] = {"params": {}, "rounds": None, "trials": [], "importance": {}}
        if library in LEARNERS:
            learner = LEARNERS[library]
            url = settings.optuna_url.get_secret_value() if settings.optuna_url else None
            study = f"{project.name}/{run}/{model.name}/{library}/{digest_of(inputs)[:12]}"
            journal = partition.parent.parent.parent / "tuning" / f"{model.name}-{library}.log"
            tuned: Tuned = tune(
                model, learner, train, validation, study=study, storage=url or journal, progress=progress
            )
            honest = learner.fit(tuned.params, train.vectors, train.label, tuned.rounds, model.seed)
            learner.save(honest, folder, model.name, validation.vectors)
            held = score_frame(
                project, validation, folder, {**entry, "file": _native(folder, model), "scorer_file": None}
            )
            final = learner.fit(tuned.params, both.vectors, both.label, tuned.rounds, model.seed)
            entry |= learner.save(final, folder, model.name, validation.vectors)
            document |= {
                "params": tuned.params,
                "rounds": tuned.rounds,
                "trials": tuned.trials,
                "importance": learner.importance(final, model.inputs),
            }
            plots.importance(folder / "importance.png", document["importance"])
        elif library == "logistic_regression":
            entry |= save_logistic_regression(folder, model.name, train.vectors, train.label)
            held = score_frame(project, validation, folder, entry)
            entry |= save_logistic_regression(folder, model.name, both.vectors, both.label)
        else:
            entry |= {"file": None, "scorer_file": None}
            held = score_frame(project, validation, folder, entry)
        document |= {
            "model": entry,
            "validation": measured(outcomes_of(validation), held),
            "rows": {"train": len(train), "validation": len(validation)},
            "snapshot": snapshot.digest,
        }
        plots.precision_recall(folder / "precision-recall.png", validation.label, {library: held})
        plots.calibration(folder / "calibration.png", validation.label, {library: held})
        _write_scores(folder / "validation.parquet", validation, held)
        (folder / "training.json").write_text(json.dumps(document, indent=1, allow_nan=False))
        return len(both)

    return publish(partition, write, inputs=inputs, watermark=snapshot.manifest.watermark)


def read_training(candidate: Published) -> dict[str, Any]:
    """The candidate's `training.json`."""
    document: dict[str, Any] = json.loads((candidate.folder / "training.json").read_bytes())
    return document


def _native(folder: Path, model: Model) -> str:
    return next(name for name in (f"{model.name}.ubj", f"{model.name}.txt") if (folder / name).exists())


def _write_scores(path: Path, frame: Frame, scores: Scores) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "event_id": pa.array(frame.event_id, pa.string()),
            "event_time": pa.array(frame.event_time, pa.timestamp("us", tz="UTC")),
            "label": frame.label,
            "score": scores,
        }
    )
    pq.write_table(table, path)
