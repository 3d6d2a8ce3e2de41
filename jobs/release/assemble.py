"""From a run that passed its gate to a release's bundle."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jobs.release.bundle import Bundle, write_bundle
from jobs.release.probability import score_of
from jobs.release.scorer import Scorer
from jobs.settings import Settings
from jobs.spec import Model, Project
from jobs.storage import Published, verify
from jobs.training.candidates import read_training
from jobs.training.card import card
from jobs.training.frame import TrainingFrame, read_frame

REFERENCE_ROWS, PARITY_ROWS = 20_000, 1_000


def assemble(
    project: Project,
    evaluation: Mapping[str, Any],
    candidates: Mapping[str, Published],
    snapshot: Published,
    pictures: Mapping[str, Path],
    releases: Path,
    settings: Settings,
) -> Bundle:
    """The bundle of the run's picked candidates (by model), with its card, its reference window and its parity rows.

    Raises TamperedError when a candidate's files differ from their manifest.
    """
    files, models, parity, metrics, decisions = dict(pictures), [], {}, {}, {}
    with tempfile.TemporaryDirectory() as temporary:
        staging = Path(temporary)
        for model in project.models:
            candidate = candidates[model.name]
            verify(candidate)
            training = read_training(candidate)
            entry = training["model"]
            files |= {name: candidate.folder / name for name in (entry["file"], entry["scorer_file"]) if name}
            if training["importance"]:
                files[f"{model.name}-importance.png"] = candidate.folder / "importance.png"
            frame = read_frame(project, model, snapshot, settings)
            scorer = Scorer.load(candidate.folder, {"models": [entry]})
            parity[model.name] = _parity(model, frame, scorer)
            _write_reference(staging / "reference.parquet", model, frame, scorer, candidate)
            beside = sorted(name for name in files if name.startswith(f"{model.name}-"))
            (staging / f"{model.name}-card.md").write_text(card(project, model, evaluation, training, beside))
            models.append(entry)
            metrics[model.name] = evaluation["models"][model.name]["challenger"]
            decisions = evaluation["models"][model.name]["decisions"]
        (staging / "parity.json").write_text(json.dumps({"models": parity}, allow_nan=False))
        (staging / "evaluation.json").write_text(json.dumps(evaluation, indent=1, allow_nan=False))
        files |= {path.name: path for path in sorted(staging.iterdir())}
        return write_bundle(
            releases,
            project,
            files,
            run=evaluation["run"],
            as_of=evaluation["as_of"],
            models=models,
            snapshot=snapshot.digest,
            git=evaluation["git"],
            metrics=metrics,
            decisions=decisions,
        )


def _parity(model: Model, frame: TrainingFrame, scorer: Scorer) -> dict[str, Any]:
    """Rows of the test part by event: what shows later that the release still scores, and gets its inputs, as it did."""
    test = frame.of("test")
    chosen = np.random.default_rng(model.seed).permutation(len(test))[:PARITY_ROWS]
    vectors = test.vectors[chosen]
    return {
        "event_ids": test.event_id[chosen].tolist(),
        "vectors": vectors.tolist(),
        "scores": scorer.score(vectors).tolist(),
    }


def _write_reference(path: Path, model: Model, frame: TrainingFrame, scorer: Scorer, candidate: Published) -> None:
    """The rows of the validation folds and the test, scored by the release itself as served rows are.

    The rows that it learned from have no score: of those it knows more than of any row that it will serve.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    held, rows, test = pq.read_table(candidate.folder / "validation.parquet"), frame.rows, frame.of("test")
    ids = pa.array(rows.event_id, pa.string())
    known = held["event_id"].combine_chunks()
    places = pc.index_in(known, ids).to_numpy()
    learned = pa.array(frame.of("train").event_id, pa.string())
    seen = pc.is_in(known, learned).to_numpy(zero_copy_only=False)
    vectors = np.concatenate([rows.vectors[places], test.vectors])
    scores = score_of(scorer.score(vectors)).copy()
    scores[np.flatnonzero(seen)] = np.nan
    times = np.concatenate([rows.event_time[places], test.event_time])
    chosen = np.sort(np.random.default_rng(model.seed).permutation(len(scores))[:REFERENCE_ROWS])
    columns = {"event_time": pa.array(times[chosen], pa.timestamp("us", tz="UTC"))}
    columns |= {name: pa.array(vectors[chosen, index]) for index, name in enumerate(model.inputs)}
    pq.write_table(pa.table({**columns, "score": scores[chosen]}), path)
