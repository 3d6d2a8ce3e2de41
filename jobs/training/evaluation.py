"""The hold-out: the picked challenger, the baselines and the champion on exactly the same rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs import mirror
from jobs.lake import Lake
from jobs.release.ledger import Champion
from jobs.release.scorer import Scorer
from jobs.spec import Model, Project
from jobs.storage import MANIFEST, Published, verify
from jobs.training import champion as rivals
from jobs.training.candidates import read_training
from jobs.training.explanations import Explained, explain
from jobs.training.fitting import score
from jobs.training.frame import TrainingFrame, outcomes_of
from jobs.training.metrics import LOWER_IS_BETTER, Outcomes, difference_intervals, interval, measured
from jobs.training.slices import sliced
from jobs.training.tasks import task_of

Scores = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What `evaluation.json` says of one model, and the scores it was measured from."""

    document: dict[str, Any]
    scores: dict[str, Scores]
    """Of all rows: without the champion's where it was compared on some."""
    explained: Explained


def pick(model: Model, candidates: Mapping[str, Published]) -> str:
    """The learner with the best validation metric; the one declared first among equals."""
    sign = -1.0 if model.metric in LOWER_IS_BETTER else 1.0

    def worth(library: str) -> float:
        value = read_training(candidates[library])["validation"][model.metric]
        return -np.inf if value is None else sign * value

    return max(model.learners, key=worth)


def evaluate(
    project: Project,
    model: Model,
    frame: TrainingFrame,
    candidates: Mapping[str, Published],
    champion: Champion | None,
    lake: Lake,
) -> Evaluated:
    """The picked learner's, the baselines' and the champion's figures on the test part, and their differences.

    With them the picked learner's slices and explanations. Raises TamperedError when a candidate's files differ from
    their manifest.
    """
    for candidate in candidates.values():
        verify(candidate)
    test, task = frame.of("test"), frame.task
    picked, outcomes = pick(model, candidates), outcomes_of(test)
    trainings = {library: read_training(candidate) for library, candidate in candidates.items()}
    scores = {
        library: score(project, test, candidates[library].folder, trainings[library]["model"])
        for library in (picked, *model.baselines)
    }
    baselines = {library: measured(task.metrics, outcomes, scores[library]) for library in model.baselines}
    slices = project.gate.slices
    scorer = Scorer.load(candidates[picked].folder, {"models": [trainings[picked]["model"]]})
    explained = explain(model, slices, test, scorer)
    document: dict[str, Any] = {
        "metric": model.metric,
        "picked": picked,
        "candidates": {
            library: {"digest": candidates[library].digest, "validation": trainings[library]["validation"]}
            for library in candidates
        },
        "challenger": measured(task.metrics, outcomes, scores[picked]),
        "intervals": _intervals(model, outcomes, scores[picked]),
        "baselines": baselines,
        "champion": None,
        "rows": len(test),
        "positives": int(task.positive(test.label).sum()),
        "days": frame.plan.document(),
        "learned_positives": int(task.positive(frame.of("train").label).sum()),
        "differences": _differences([model.metric], model, outcomes, scores[picked], _some(scores, model.baselines)),
        "decisions": decisions(model, candidates[picked]),
        "slices": sliced(model, slices, test, scores[picked]),
        "explanations": explained.document,
    }
    if champion is not None:
        rival = rivals.rival(project, model, frame.rows, test, frame.plan.final.test, champion, lake)
        document["champion"] = rival.document
        if rival.scores is not None and rival.rows is not None:
            both = np.flatnonzero(rival.rows)
            some = outcomes.take(both)
            rival.document["metrics"] = measured(task.metrics, some, rival.scores)
            rival.document.update(rows=len(both), positives=int(task.positive(some.label).sum()))
            bounded = [one.metric for one in project.gate.of(model.name) if one.allowed_regression is not None]
            names, theirs = list(dict.fromkeys((model.metric, *bounded))), {"champion": rival.scores}
            document["differences"] |= _differences(names, model, some, scores[picked][both], theirs)
            if len(both) == len(test):
                scores["champion"] = rival.scores
    return Evaluated(document=document, scores=scores, explained=explained)


def _intervals(model: Model, outcomes: Outcomes, scores: Scores) -> dict[str, dict[str, float | None]]:
    """The 95 % interval of every metric, by bootstrap of the entities."""
    found = {name: interval(name, outcomes, scores, seed=model.seed) for name in task_of(model).metrics}
    return {name: {"low": _known(low), "high": _known(high)} for name, (low, high) in found.items()}


def _differences(
    names: Sequence[str], model: Model, outcomes: Outcomes, ours: Scores, rivals: Mapping[str, Scores]
) -> dict[str, dict[str, dict[str, float | None]]]:
    """Rival → metric → our figure minus the rival's, with its paired interval."""
    found: dict[str, dict[str, dict[str, float | None]]] = {rival: {} for rival in rivals}
    for name in names:
        for rival, figures in difference_intervals(name, outcomes, ours, rivals, seed=model.seed).items():
            found[rival][name] = {key: _known(value) for key, value in figures.items()}
    return found


def _some(scores: Mapping[str, Scores], names: Sequence[str]) -> dict[str, Scores]:
    return {name: scores[name] for name in names}


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def rival_of(history: Sequence[Champion], releases: Path, run: str) -> Champion | None:
    """The champion a run has to beat: the last that is not a release of the run itself.

    So a run that is repeated after its own promotion gets the same answer as before it.
    """
    for champion in reversed(history):
        manifest = mirror.read(releases / champion.release / MANIFEST)
        if manifest is None or json.loads(manifest).get("run") != run:
            return champion
    return None


def decisions(model: Model, candidate: Published) -> dict[str, Any]:
    """What serving decides by, as the model's task chooses it on the scores of the validation folds."""
    import pyarrow.parquet as pq

    table, task = pq.read_table(candidate.folder / "validation.parquet"), task_of(model)
    return task.decisions(model, task.labels(table["label"]), np.asarray(table["score"], dtype=np.float64))
