"""A slot that holds two releases of a ranking: which list it answers, what it logs, and that it never fails for the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobs.experiment.interleaving import draft
from jobs.features.materialize import materialize
from jobs.lake import Lake
from jobs.projects.search.spec import SEARCH
from jobs.release.bundle import Bundle
from tests.releases import release
from tests.serving.conftest import Stack, settings_of, until
from tests.serving.history import AS_OF

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]
LENGTH = 6
INPUTS = SEARCH.models[-1].inputs


def bundle(lake: Lake, folder: Path, name: str, **coefficients: float) -> Bundle:
    """A release that scores by these inputs alone."""
    width = len(INPUTS)
    weights = {
        "mean": [0.0] * width, "scale": [1.0] * width, "intercept": 0.0,
        "coefficients": [coefficients.get(one, 0.0) for one in INPUTS],
    }  # fmt: skip
    return release(lake, SEARCH, folder / name, weights=weights)


def found(search: str, **changes: Any) -> list[dict[str, Any]]:
    """What a search found: documents whose titles suit it more and more."""
    known = {
        "event_time": f"{AS_OF.date()}T10:00:00Z",
        "search_id": search,
        "user_id": "u",
        "query": "of ships",
        "title": "a",
    }
    return [
        {
            **known, "impression_id": f"{search}.{row}", "document_id": f"D{row}", "title_score": 100 * (row + 1),
            "body_score": 0, "age_days": 0,
        } | changes
        for row in range(LENGTH)
    ]  # fmt: skip


@dataclass
class Pair:
    """The slot, its own release, which puts high titles first, and the other, which puts low ones first."""

    stack: Stack
    own: Bundle
    other: Bundle

    def tell(self, other: Bundle) -> None:
        """Has the slot serve its own release with another one beside it, from its next start."""
        slots = self.stack.slots
        beside = slots.assign(SEARCH.name, "green", other.release, other.digest, 1, other.folder)
        slots.assign(SEARCH.name, "blue", self.own.release, self.own.digest, 1, self.own.folder, beside=beside)

    def ask(self, *searches: list[dict[str, Any]], path: str = "predict", **headers: str) -> list[dict[str, Any]]:
        with self.stack.client() as client:
            rows = [row for rows in searches for row in rows]
            answer = client.post(f"/search/{path}", json={"rows": rows}, headers=headers)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["rows"])

    @property
    def state(self) -> dict[str, Any]:
        return self.stack.slots.state(SEARCH.name, "blue")

    def lists(self, order: str) -> float:
        with self.stack.client() as client:
            lines = client.get("/metrics").text.splitlines()
        return sum(
            float(line.split()[-1]) for line in lines if line.startswith(f'tidemill_lists_total{{order="{order}"}}')
        )


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    home = tmp_path_factory.mktemp("interleaved")
    stack = Stack(settings_of(home), project=SEARCH.name)
    materialize(SEARCH, stack.settings)  # nothing is published: every view is there, and empty
    made = Pair(
        stack, bundle(stack.lake, home, "own", title_bm25=1.0),
        # Where a document is old and its body suits the search, the sum of these is no number.
        bundle(stack.lake, home, "other", title_bm25=-1.0, age=1e306, body_bm25=-1e306),
    )  # fmt: skip
    made.tell(made.other)
    stack.start("blue", made.own.release)
    yield made
    stack.stop_all()


def test_lists_are_drafted_and_logged_by_whose_choice_each_row_was(pair: Pair) -> None:
    assert (pair.state["beside"], pair.state["alone"]) == (pair.other.release, None)
    names = [f"both-{number}" for number in range(20)]
    answers = [
        row for one, two in zip(names[::2], names[1::2], strict=True) for row in pair.ask(found(one), found(two))
    ]
    own, other = list(range(LENGTH))[::-1], list(range(LENGTH))
    sides = {"candidate": pair.own.release, "stable": pair.other.release}
    for search, name in enumerate(names):
        rows = answers[search * LENGTH : (search + 1) * LENGTH]
        shown = sorted(range(LENGTH), key=lambda row: rows[row]["position"])
        told = [(row, rows[row]["release"]) for row in shown]
        assert told == [(one.item, sides[one.side]) for one in draft(own, other, name)], name
    assert {row["release"] for row in answers if row["position"] == 1} == set(sides.values()), "either begins some"
    assert pair.lists("both") == 20
    until(lambda: len(pair.stack.logged("both-")) == 20 * LENGTH)
    logged = pair.stack.logged("both-")
    for row in answers:
        at = divmod(answers.index(row), LENGTH)
        record = logged[f"{names[at[0]]}.{at[1]}"]
        mine = row["release"] == pair.own.release
        assert (record["release"], record["score"], record["slot"]) == (row["release"], row["score"], "blue")
        assert record["beside"] == (pair.other.release if mine else pair.own.release)
        title = record["vector"][INPUTS.index("title_bm25")]
        assert title == 100 * (at[1] + 1) / 1_000
        assert (row["score"] > 0.5) is mine, "the score is that of the release that chose, of the vector that is logged"


def test_an_explanation_is_of_the_slots_own_release_by_the_vector_that_was_served(pair: Pair) -> None:
    rows = found("told")
    assert len({row["release"] for row in pair.ask(rows)}) == 2
    for told in pair.ask(rows, path="explain"):
        assert (told["release"], told["as_served"], told["score"] > 0.5) == (pair.own.release, True, True)
        assert "position" not in told


def test_what_is_no_number_of_the_other_fails_nobody(pair: Pair) -> None:
    before = pair.lists("own")
    bad, good = found("bad", age_days=100_000, body_score=1_000_000), found("good")
    answers = pair.ask(bad, good)
    assert [row["position"] for row in answers[:LENGTH]] == list(range(1, LENGTH + 1))[::-1]
    assert {row["release"] for row in answers[:LENGTH]} == {pair.own.release}
    assert {row["release"] for row in answers[LENGTH:]} == {pair.own.release, pair.other.release}
    assert pair.lists("own") == before + 1
    until(lambda: len(pair.stack.logged("bad.")) == LENGTH)
    assert {one["beside"] for one in pair.stack.logged("bad.").values()} == {None}


def test_one_document_and_mirrored_requests_are_the_slots_own(pair: Pair) -> None:
    alone = pair.ask(found("alone")[:1])
    assert (alone[0]["position"], alone[0]["release"]) == (1, pair.own.release)
    mirrored = pair.ask(found("mirrored"), **{"x-tidemill-shadow": "1"})
    assert {row["release"] for row in mirrored} == {pair.own.release}


def test_it_stops_when_told_and_starts_alone_when_the_other_is_refused(pair: Pair) -> None:
    pair.stack.slots.part(SEARCH.name, "blue")
    assert pair.state["beside"] is None
    assert {row["release"] for row in pair.ask(found("apart"))} == {pair.own.release}
    pair.stack.stop("blue")
    wrong = Bundle(release=pair.other.release, digest="0" * 64, folder=pair.other.folder, manifest=pair.other.manifest)
    pair.tell(wrong)
    state = pair.stack.start("blue", pair.own.release)
    assert (state["ready"], state["beside"], state["refused"]) == (True, None, None)
    assert f"{pair.other.release}/manifest.json is refused" in state["alone"], state
    assert {row["release"] for row in pair.ask(found("refused"))} == {pair.own.release}
