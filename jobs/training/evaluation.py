"""The hold-out: the picked challenger, the baselines and the champion on exactly the same rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import TamperedError
from jobs.release.bundle import same_contract, verify_bundle
from jobs.release.ledger import Champion
from jobs.release.scorer import Scorer
from jobs.spec import Model, Project
from jobs.storage import MANIFEST, Published, verify
from jobs.training.candidates import read_training
from jobs.training.fitting import score
from jobs.training.frame import Frame, outcomes_of
from jobs.training.metrics import LOWER_IS_BETTER, METRICS, Outcomes, difference_intervals, interval, measured

Scores = NDArray[np.float64]
REVIEW_SHARE = 0.02
"""The share of the validation rows that people have the time to look at: it sets the review threshold."""
DECLINE_PRECISION = 0.8
"""How sure a decline must be: of the validation rows scored as high, so many are positives."""
DECLINE_ROWS = 20
"""The fewest such rows that show it."""


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What `evaluation.json` says of one model, and the scores it was measured from."""

    document: dict[str, Any]
    scores: dict[str, Scores]


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
    test: Frame,
    candidates: Mapping[str, Published],
    champion: Champion | None,
    releases: Path,
) -> Evaluated:
    """The picked learner's, the baselines' and the champion's figures on the test part, and their differences.

    Raises TamperedError when a candidate's files differ from their manifest.
    """
    for candidate in candidates.values():
        verify(candidate)
    picked, outcomes = pick(model, candidates), outcomes_of(test)
    trainings = {library: read_training(candidate) for library, candidate in candidates.items()}
    scores = {
        library: score(project, test, candidates[library].folder, trainings[library]["model"])
        for library in (picked, *model.baselines)
    }
    baselines = {library: measured(outcomes, scores[library]) for library in model.baselines}
    document: dict[str, Any] = {
        "metric": model.metric,
        "picked": picked,
        "candidates": {
            library: {"digest": candidates[library].digest, "validation": trainings[library]["validation"]}
            for library in candidates
        },
        "challenger": measured(outcomes, scores[picked]),
        "intervals": _intervals(model, outcomes, scores[picked]),
        "baselines": baselines,
        "champion": None,
        "rows": len(test),
        "positives": int(test.label.sum()),
        "differences": {},
        "decisions": decisions(candidates[picked]),
    }
    if champion is not None:
        described, theirs = _champion(project, model, test, champion, releases)
        document["champion"] = described
        if theirs is not None:
            scores["champion"], described["metrics"] = theirs, measured(outcomes, theirs)
    document["differences"] = _differences(project, model, outcomes, picked, scores)
    return Evaluated(document=document, scores=scores)


def _intervals(model: Model, outcomes: Outcomes, scores: Scores) -> dict[str, dict[str, float | None]]:
    """The 95 % interval of every metric, by bootstrap of the entities."""
    found = {name: interval(name, outcomes, scores, seed=model.seed) for name in METRICS}
    return {name: {"low": _known(low), "high": _known(high)} for name, (low, high) in found.items()}


def _differences(
    project: Project, model: Model, outcomes: Outcomes, picked: str, scores: Mapping[str, Scores]
) -> dict[str, dict[str, dict[str, float | None]]]:
    """Rival → metric → the picked learner's figure minus the rival's, with its paired interval.

    For the baselines the model's metric; for the champion also those in which the gate bounds a regression.
    """
    bounded = [one.metric for one in project.gate.thresholds if one.allowed_regression is not None]
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    for name in dict.fromkeys((model.metric, *bounded)):
        rivals = {
            rival: theirs
            for rival, theirs in scores.items()
            if rival == "champion" or (rival in model.baselines and name == model.metric)
        }
        differences = difference_intervals(name, outcomes, scores[picked], rivals, seed=model.seed)
        for rival, figures in differences.items():
            found.setdefault(rival, {})[name] = {key: _known(value) for key, value in figures.items()}
    return found


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def rival_of(history: Sequence[Champion], releases: Path, run: str) -> Champion | None:
    """The champion a run has to beat: the last that is not a release of the run itself.

    So a run that is repeated after its own promotion gets the same answer as before it.
    """
    for champion in reversed(history):
        manifest = releases / champion.release / MANIFEST
        if not manifest.is_file() or json.loads(manifest.read_bytes()).get("run") != run:
            return champion
    return None


def decisions(candidate: Published) -> dict[str, float]:
    """The score thresholds that serving decides by, chosen on the scores of the validation folds.

    Review: the top 2 % of scores. Decline: the lowest score, at or above review, such that at least
    80 % of the rows from it upwards (and at least 20 rows) are positives; where there is none, 2.0:
    the model alone never declines. Rules come before both.
    """
    import pyarrow.parquet as pq

    table = pq.read_table(candidate.folder / "validation.parquet")
    label, scores = np.asarray(table["label"], dtype=bool), np.asarray(table["score"], dtype=np.float64)
    order = np.argsort(-scores, kind="stable")
    ranked, precision = scores[order], np.cumsum(label[order]) / np.arange(1, len(label) + 1)
    review = float(ranked[max(int(len(ranked) * REVIEW_SHARE) - 1, 0)])
    ends = np.append(np.diff(ranked) != 0, True)
    sure = ends & (precision >= DECLINE_PRECISION) & (np.arange(1, len(label) + 1) >= DECLINE_ROWS) & (ranked >= review)
    decline = float(ranked[np.flatnonzero(sure)[-1]]) if sure.any() else 2.0
    return {
        "review": review,
        "decline": decline,
        "review_share": REVIEW_SHARE,
        "decline_precision": DECLINE_PRECISION,
    }


def _champion(
    project: Project, model: Model, test: Frame, champion: Champion, releases: Path
) -> tuple[dict[str, Any], Scores | None]:
    described: dict[str, Any] = {"release": champion.release, "digest": champion.digest, "epoch": champion.epoch}
    folder = releases / champion.release
    try:
        manifest = verify_bundle(folder, champion.digest)
    except TamperedError as error:
        return {**described, "refused": str(error)}, None
    if not same_contract(project, manifest, model.inputs):
        reason = "its feature contract (views, request transform or inputs) is not the present one"
        return {**described, "refused": reason}, None
    return described, Scorer.load(folder, manifest, model.name).score(test.vectors)
