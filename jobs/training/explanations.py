"""What moves a model's scores: exact tree SHAP on rows of the hold-out, as a whole and by slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.release.bits import told
from jobs.release.probability import explained
from jobs.release.scorer import Scorer
from jobs.slices import Slice
from jobs.spec import Model
from jobs.training.frame import Frame
from jobs.training.slices import groups_of
from jobs.training.tasks import task_of

POSITIVES, NEGATIVES = 300, 700
"""The most rows of either label that are explained: a row takes some milliseconds."""
SLICE_ROWS = 20
"""A group with fewer explained rows has no figures."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Explained:
    """The rows that were explained, and what the evaluation says of them."""

    document: dict[str, Any]
    vectors: Floats
    """As `Model.told` names their columns."""
    contributions: Floats
    """For each row and told input, in log-odds; without the base."""


def explain(model: Model, slices: Sequence[Slice], rows: Frame, scorer: Scorer) -> Explained:
    """The mean absolute contribution of each input, of all rows and by group, and how exact the contributions are.

    At most 300 positives and 700 negatives are explained, drawn by the model's seed; means weigh them as frequent as
    they are among all rows. `largest_gap` is the greatest distance of a row's sum of contributions from its margin, and
    `rounding` that of its base from the usual one: what single-precision contributions lacked was added there.
    """
    task = task_of(model)
    chosen, weights = _drawn(task.positive(rows.label), model.seed)
    some = rows.where(chosen)
    exact = scorer.explain(some.vectors)
    contributions = exact[:, :-1]
    gaps = np.abs(exact.sum(axis=1) - explained(scorer.margins(some.vectors)))
    gap = float(gaps.max()) if np.isfinite(gaps).all() else None
    groups: dict[str, Any] = {}
    for one in slices:
        for name, mask in groups_of(one, model, some):
            if int(mask.sum()) >= SLICE_ROWS:
                groups[f"{one.name}: {name}"] = _means(model, contributions[mask], weights[mask])
    document = {
        "rows": len(some),
        "positives": int(task.positive(some.label).sum()),
        "base": float(np.median(exact[:, -1])),
        "largest_gap": gap,
        "rounding": float(np.abs(exact[:, -1] - np.median(exact[:, -1])).max()),
        "importance": _means(model, contributions, weights),
        "slices": groups,
    }
    vectors = told(some.vectors, model.flags.numbers if model.flags else 0)
    return Explained(document=document, vectors=vectors, contributions=contributions)


def _drawn(label: NDArray[np.bool_], seed: int) -> tuple[NDArray[np.bool_], Floats]:
    """Which rows are explained, and how many rows each of them stands for."""
    random, chosen = np.random.default_rng(seed), np.zeros(len(label), dtype=np.bool_)
    weights = np.zeros(len(label))
    for which, most in ((label, POSITIVES), (~label, NEGATIVES)):
        all_of_them = np.flatnonzero(which)
        drawn = random.permutation(all_of_them)[:most]
        chosen[drawn] = True
        weights[drawn] = len(all_of_them) / max(len(drawn), 1)
    return chosen, weights[chosen]


def _means(model: Model, contributions: Floats, weights: Floats) -> dict[str, float]:
    means = np.average(np.abs(contributions), axis=0, weights=weights)
    return {name: float(mean) for name, mean in zip(model.told, means, strict=True)}
