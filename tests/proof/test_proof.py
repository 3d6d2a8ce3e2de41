"""The part of the proof that needs no champion and no services, so that its page cannot rot unseen."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.projects import NAMES, PROJECTS
from jobs.settings import ROOT
from tests.proof import data, trained
from tests.proof.__main__ import candidates, cases
from tests.proof.case import Case, Row, Seen, judged
from tests.proof.home import Home
from tests.proof.page import page
from tests.training.runs import home_of

FIRST = NAMES[0]
QUICK = [
    *((name, case) for name in NAMES for case in data.ingested(PROJECTS[name])),
    *((FIRST, case) for case in (*data.validated(PROJECTS[FIRST]), *trained.fast(PROJECTS[FIRST]))),
]


@pytest.mark.parametrize(("name", "case"), QUICK, ids=[f"{name}: {case.name}" for name, case in QUICK])
def test_a_bad_case_is_caught_where_it_was_expected_and_by_that_guard_alone(
    name: str, case: Case[Home], tmp_path: Path
) -> None:
    row = judged(case, Home(name, home_of(tmp_path / "home")))
    assert row.as_expected, row
    assert row.without is None or not row.without.caught, row


def test_a_guard_that_catches_nothing_is_not_as_expected() -> None:
    through = Seen(caught=False, stage="register")
    case: Case[None] = Case(
        name="x", done="y", stages=("gate",), guards=("labels",), run=lambda _place, _guarded: through
    )  # fmt: skip
    assert not judged(case, None).ok
    elsewhere = Seen(caught=True, stage="canary", guard="labels")
    case = Case(name="x", done="y", stages=("gate",), guards=("labels",), run=lambda _place, _guarded: elsewhere)
    assert not judged(case, None).ok


@pytest.mark.parametrize("name", NAMES)
def test_there_are_as_many_cases_as_are_promised_and_the_page_names_each(name: str) -> None:
    every = [case for found in cases(name).values() for case in found]
    apply = [case for case in every if not case.why_not]
    assert len(every) == len({case.name for case in every})
    assert len(apply) >= 25
    assert sum(bool(case.removed) for case in apply) >= 10
    good = [one for found in candidates(name).values() for one in found]
    assert len(good) >= (10 if name == FIRST else 3)
    text = (ROOT / "docs" / "proof.md").read_text().split(f"\n# {name}\n")[1].split("\n# ")[0]
    missing = [one for one in (*(case.name for case in every), *good) if one not in text]
    assert not missing, f"docs/proof.md does not name {missing} of {name}; run `make proof PROJECT={name}`"
    assert all(case.why_not in text for case in every)


def test_the_page_says_what_was_not_as_expected_and_names_no_path_of_the_machine(tmp_path: Path) -> None:
    seen = Seen(caught=True, stage="gate", guard="rows", said=f"{tmp_path}/model.json is refused", after="1 row")
    row = Row(name="a case", done="Done.", seen=seen, as_expected=False, seconds=1.0, removed="it", without=seen)
    result = {
        "cases": {"data": [row.document()]}, "left_out": {"data": [("another", "does not apply: it is so")]},
        "good": [{"name": "fine", "caught": True, "stage": "gate", "guard": "x", "said": ""}],
        "missing": ["a third"], "dates": ["2026-01-01"], "seconds": 60, "cores": 2, "load": 1.0,
    }  # fmt: skip
    made = page({"one": result, "two": result})
    assert str(tmp_path) not in made
    assert made.count("**not as expected**: gate") == made.count("still caught at gate") == 2
    assert made.count("*a third*: nobody has run them yet.") == 2
    assert made.count("*another*: does not apply: it is so.") == 2
    assert made.count("| **0 of 1** | **1** of 1 |") == 2
