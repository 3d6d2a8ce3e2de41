"""The part of the proof that needs no champion and no services, so that its page cannot rot unseen."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.settings import ROOT
from tests.proof import data, trained
from tests.proof.__main__ import CASES
from tests.proof.case import Case, Row, Seen, judged
from tests.proof.good import CANDIDATES
from tests.proof.home import Home
from tests.proof.page import page
from tests.training.runs import home_of

QUICK = (*data.INGESTED, *data.VALIDATED, *trained.FAST)
EVERY = [case for cases in CASES.values() for case in cases]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(postgres="", settings=home_of(tmp_path_factory.mktemp("proof") / "home"))


@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.name)
def test_a_bad_case_is_caught_where_it_was_expected_and_by_that_guard_alone(case: Case[Home], home: Home) -> None:
    row = judged(case, home)
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


def test_there_are_as_many_cases_as_are_promised_and_the_page_names_each() -> None:
    assert len(EVERY) == len({case.name for case in EVERY}) >= 25
    assert sum(bool(case.removed) for case in EVERY) >= 10
    good = [name for found in CANDIDATES.values() for name in found]
    assert len(good) == 10
    text = (ROOT / "docs" / "proof.md").read_text()
    missing = [name for name in (*(case.name for case in EVERY), *good) if name not in text]
    assert not missing, f"docs/proof.md does not name {missing}; run `make proof`"


def test_the_page_says_what_was_not_as_expected_and_names_no_path_of_the_machine(tmp_path: Path) -> None:
    seen = Seen(caught=True, stage="gate", guard="rows", said=f"{tmp_path}/model.json is refused", after="1 row")
    row = Row(name="a case", done="Done.", seen=seen, as_expected=False, seconds=1.0, removed="it", without=seen)
    made = page(
        {"cases": {"data": [row.document()]}, "good": [{"name": "fine", "caught": True, "stage": "gate", "guard": "x", "said": ""}],
         "date": "2026-01-01", "seconds": 60, "cores": 2, "load": 1.0}
    )  # fmt: skip
    assert str(tmp_path) not in made
    assert "**not as expected**: gate" in made
    assert "still caught at gate" in made
    assert "**0 of 1** got through" in made
    assert "**1** was refused" in made
