"""Flags: thousands of yes or no in a few numbers, as models see them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jobs.flags import BITS, Flags, faults_of_flags
from jobs.release.bits import dense, folded, sparse, told
from jobs.release.scorer import Scorer
from jobs.training.learners import Examples
from jobs.training.tasks import TASKS

NUMBERS = 3
NAMES = ("amount", "count", "w_000", "w_001", "w_002")


def vectors(rows: int = 400, seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    plain = np.column_stack([random.normal(size=rows), random.integers(0, 3, rows)])
    return np.column_stack([plain, random.integers(0, 2**BITS, (rows, NUMBERS))]).astype(np.float64)


def test_every_flag_of_a_number_becomes_a_column_of_its_own() -> None:
    packed = np.array([[7.5, 1.0 + 2**47, 0.0, 2.0**5]])
    wide = dense(packed, NUMBERS)
    assert wide.shape == (1, 1 + NUMBERS * BITS)
    assert np.flatnonzero(wide[0]).tolist() == [0, 1, 48, 1 + 2 * BITS + 5]
    assert np.isnan(dense(packed, NUMBERS, absent=np.nan)).sum() == NUMBERS * BITS - 3


def test_many_rows_have_the_same_columns_as_one_and_keep_the_zeros_of_numbers() -> None:
    some = vectors()
    matrix = sparse(some, NUMBERS)
    assert (matrix.toarray() == dense(some, NUMBERS)).all()
    assert matrix.getnnz(axis=1).tolist() == (told(some, NUMBERS)[:, -1] + 2).tolist()
    assert sparse(some[:0], NUMBERS).shape == (0, 2 + NUMBERS * BITS)


def test_numbers_with_flags_survive_json_bit_for_bit() -> None:
    some = vectors()
    assert (np.array(json.loads(json.dumps(some.tolist()))) == some).all()


def test_contributions_of_all_flags_are_told_as_one() -> None:
    wide = np.arange(2 + NUMBERS * BITS + 1, dtype=np.float64)[None]
    assert folded(wide, 2, NUMBERS).tolist() == [[0, 1, wide[0, 2:-1].sum(), wide[0, -1]]]


@pytest.mark.parametrize("library", ["logistic_regression", "lightgbm", "xgboost"])
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_a_row_alone_is_scored_as_among_others_and_told_by_its_flags(library: str, task: str, tmp_path: Path) -> None:
    some, learner = vectors(), TASKS[task].learners[library]  # type: ignore[index]
    told_by = (some[:, 2].astype(np.int64) >> 5) & 1
    label = np.where(told_by == 1, 2, some[:, 0] > 0.5).astype(np.int64)
    several = {"classes": ["none", "some", "all"]} if task == "multiclass" else {}
    examples = Examples(
        x=some, y=label if several else label > 1, flags=NUMBERS, classes=len(several.get("classes", []))
    )
    model = learner.fit(learner.start, examples, 40, 1)
    file = learner.save(model, tmp_path, "m")
    entry = {
        "name": "m", "library": library, "inputs": list(NAMES), "flags": NUMBERS, "file": file, "task": task,
        "scorer_file": learner.export(model, tmp_path, "m", some, NUMBERS), **several,
    }  # fmt: skip
    scorer = Scorer.load(tmp_path, {"models": [entry]})
    together = scorer.margins(some)
    alone = np.concatenate([scorer.margins(some[row : row + 1]) for row in range(len(some))])
    assert together.shape == alone.shape == ((len(some), 3) if several else (len(some),))
    assert np.abs(together - alone).max() <= (1e-9 if library == "logistic_regression" else 0)
    assert scorer.explain(some[:20]).shape == (20, 2 + 1 + 1)
    said = scorer.score(some)[:, -1] == 2 if several else scorer.score(some) > 0.5
    assert (said == (told_by == 1)).mean() > 0.95
    shares = learner.importance(model, ("amount", "count", "w"), NUMBERS)
    assert library == "logistic_regression" or shares["w"] > shares["count"]


@pytest.mark.parametrize(
    ("flags", "inputs", "increasing", "fault"),
    [
        (Flags(name="w", numbers=0), ("a",), (), "have no number"),
        (Flags(name="w", numbers=1), ("w_000", "a"), (), "have to be the last"),
        (Flags(name="a", numbers=1), ("a", "a_000"), (), "called like an input"),
        (Flags(name="w", numbers=1), ("a", "w_000"), ("w_000",), "48 flags and no number"),
    ],
)
def test_a_wrong_declaration_of_flags_is_named(
    flags: Flags, inputs: tuple[str, ...], increasing: tuple[str, ...], fault: str
) -> None:
    assert any(fault in one for one in faults_of_flags(flags, inputs, increasing))
