"""Before a release becomes champion, what it served is replayed: the decision, and where its records are found."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.rollout.machine import Rollout
from jobs.rollout.observed import Replayed
from jobs.rollout.replayed import LANDED, replayed
from jobs.rollout.steps import decide_promotion
from jobs.rollout.verdict import Decision
from jobs.settings import Settings
from jobs.spec import Canary, Replay
from tests.features.morning import morning, sales
from tests.features.shop import DAY, INPUTS, NOON, RELEASE, Sale, Shop, land

CANARY = Canary(bake_seconds=600, deadline_seconds=3_600, minimum_requests=500)


def found(vectors: int | None = 1_000, identical: int | None = None, unexplained: int | None = 0) -> Replayed:
    same = vectors if identical is None else identical
    return Replayed(vectors=vectors, identical=same, unexplained=unexplained, detail=f"{same} of {vectors}")


@pytest.mark.parametrize(
    ("replay", "waited", "decision", "reason"),
    [
        (found(), 5, Decision.PROMOTE, "1000 of 1000"),
        (found(500), 5, Decision.PROMOTE, "500 of 500"),
        (found(2_000, 1_998), 5, Decision.PROMOTE, "1998 of 2000"),
        (found(499), 5, Decision.HOLD, "499 of 500 vectors replayed"),
        (found(499), 3_600, Decision.ROLL_BACK, "deadline"),
        (found(0), 5, Decision.HOLD, "0 of 500"),
        (found(0), 3_600, Decision.ROLL_BACK, "deadline"),
        (found(500, 499), 5, Decision.HOLD, "499 of 500"),
        (found(500, 499), 3_600, Decision.ROLL_BACK, "deadline"),
        (found(1_000, 950), 5, Decision.ROLL_BACK, "950 of 1000"),
        (found(400, 200), 5, Decision.HOLD, "400 of 500 vectors replayed"),
        (found(100_000, 99_999, 1), 5, Decision.ROLL_BACK, "99999 of 100000"),
        (found(10, 9, 1), 5, Decision.ROLL_BACK, "9 of 10"),
        (found(None), 5, Decision.HOLD, "None of None"),
        (found(None), 3_600, Decision.ROLL_BACK, "deadline"),
        (found(1_000, 1_001), 5, Decision.HOLD, "1001 of 1000"),
        (found(1_000, -1), 5, Decision.HOLD, "-1 of 1000"),
        (found(1_000, None, None), 5, Decision.HOLD, "1000 of 1000"),
        (found(None), math.nan, Decision.ROLL_BACK, "deadline"),
    ],
)
def test_only_enough_identical_answers_are_promoted(
    replay: Replayed, waited: float, decision: Decision, reason: str
) -> None:
    verdict = decide_promotion(replay, waited, CANARY, Replay())
    assert (verdict.decision, verdict.reason.startswith("before promotion: ")) == (decision, True)
    assert reason in verdict.reason
    assert bool(verdict.wait_seconds) is (decision is Decision.HOLD)


def test_a_first_release_is_told_that_it_does_not_apply() -> None:
    verdict = decide_promotion(None, 5, CANARY, Replay())
    assert (verdict.decision, verdict.checks[0].name, verdict.checks[0].value) == (Decision.PROMOTE, "replayed", None)
    assert "does not apply" in verdict.reason


def test_all_of_them_can_be_asked_for() -> None:
    assert decide_promotion(found(1_000, 999), 5, CANARY, Replay(minimum_identical=1.0)).decision is Decision.ROLL_BACK
    assert decide_promotion(found(), 5, CANARY, Replay(minimum_identical=1.0)).decision is Decision.PROMOTE


numbers = st.none() | st.integers(-5, 5_000)


@given(vectors=numbers, identical=numbers, unexplained=numbers, waited=st.floats(0, 7_200), share=st.floats(0.01, 1.0))
def test_it_fails_closed(
    vectors: int | None, identical: int | None, unexplained: int | None, waited: float, share: float
) -> None:
    replay = Replayed(vectors=vectors, identical=identical, unexplained=unexplained, detail="")
    verdict = decide_promotion(replay, waited, CANARY, Replay(minimum_identical=share))
    if verdict.decision is Decision.PROMOTE:
        assert vectors is not None
        assert identical is not None
        assert vectors >= CANARY.minimum_requests
        assert vectors >= identical >= share * vectors
        assert unexplained == 0
    if waited > CANARY.deadline_seconds:
        assert verdict.decision is not Decision.HOLD


@pytest.fixture
def shop(settings: Settings) -> Iterator[Shop]:
    with morning(settings) as shop:
        shop.clock = datetime.now(UTC) - timedelta(minutes=30)
        yield shop


def rollout(shop: Shop) -> Rollout:
    """A candidate in green that began when the shop's clock says."""
    return Rollout(release=RELEASE, digest="0" * 64, epoch_seen=1, slot="green", stable_slot="blue",
                   started_at=shop.clock.isoformat())  # fmt: skip


def write(shop: Shop, slot: str, *, land_them: bool) -> None:
    """Writes what was answered since the last time to the slot's file, which is then landed or still open."""
    fresh, shop.ingested = shop.records[shop.ingested :], len(shop.records)
    data = "".join(json.dumps(record) + "\n" for record in fresh).encode()
    name = f"{slot}-{DAY}-{time.time_ns()}-{len(shop.records)}"
    if land_them:
        land(shop.lake, shop.project, DAY, data).rename(
            shop.lake.landing(shop.project.name, "predictions", DAY) / f"0123456789abcdef-{name}.jsonl"
        )
    else:
        folder = shop.settings.home / "serving" / shop.project.name / "log"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.open.jsonl").write_bytes(data + b'{"request_id": "half a li')


def test_records_are_found_wherever_they_are(shop: Shop) -> None:
    for sale in sales(0, 1):  # the stable slot's, before the rollout, ingested
        shop.answer(sale)
    shop.ingest()
    candidate = rollout(shop)
    shop.answer(sales(2, first=2)[0])  # the stable slot's, landed only: the windows after it have it
    write(shop, "blue", land_them=True)
    shop.answer(sales(3, first=3)[0], slot="green")
    write(shop, "green", land_them=True)
    shop.answer(sales(4, first=4)[0])
    write(shop, "blue", land_them=False)
    shop.answer(sales(5, first=5)[0], slot="green")
    shop.answer(sales(6, first=6)[0], slot="green", release="r-00000000000f")
    write(shop, "green", land_them=False)
    began = time.monotonic()
    seen = replayed(shop.project, shop.settings, candidate)
    assert (seen.vectors, seen.identical, seen.unexplained) == (2, 2, 0), seen.detail
    assert time.monotonic() - began < 5


def test_a_candidate_without_records_has_none(shop: Shop) -> None:
    shop.answer(*sales(0))
    shop.answer(sales(1, first=1)[0], slot="green")
    write(shop, "green", land_them=True)
    shop.clock = datetime.now(UTC) + timedelta(seconds=1)  # all of that was before
    assert replayed(shop.project, shop.settings, rollout(shop)).vectors == 0
    assert replayed(shop.project, shop.settings, rollout(shop)).detail == "it has logged no prediction"


def test_what_differs_is_counted_and_named(shop: Shop) -> None:
    candidate = rollout(shop)
    for sale in sales(*range(4)):
        shop.answer(sale, slot="green")
    shop.perturb(1, INPUTS.index("amount"), 3.0)
    shop.answer(Sale("s-late", NOON - timedelta(minutes=1), "c-0"), slot="green")
    write(shop, "green", land_them=True)
    seen = replayed(shop.project, shop.settings, candidate)
    assert (seen.vectors, seen.identical, seen.unexplained) == (5, 1, 1)
    assert seen.detail == "1 of 5 vectors are identical (20.00 %); late event 3, unknown 1"


def test_an_answer_just_given_is_not_asked_about(shop: Shop) -> None:
    candidate = rollout(shop)
    shop.answer(sales(0)[0], slot="green")
    shop.clock = datetime.now(UTC)
    shop.answer(sales(1, first=1)[0], slot="green")
    write(shop, "green", land_them=False)
    assert replayed(shop.project, shop.settings, candidate).vectors == 1


def test_elsewhere_an_answer_is_asked_about_once_every_slot_has_landed_what_it_answered_before(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert timedelta(seconds=8) <= LANDED, "a file is begun every 2 to 4 seconds, and sent"
    monkeypatch.setattr("jobs.rollout.replayed.LANDED", timedelta(hours=1))  # this machine may be slow
    shop.clock = datetime.now(UTC) - timedelta(seconds=66)
    candidate = rollout(shop)
    shop.answer(sales(0)[0])  # by another task, which has not landed it yet
    shop.answer(sales(1, first=1)[0], slot="green")
    shop.ingested = 1
    write(shop, "green", land_them=True)
    elsewhere = shop.settings.model_copy(update={"routing": "router"})
    assert replayed(shop.project, shop.settings, candidate).identical == 0, "here, that would be a difference"
    assert replayed(shop.project, elsewhere, candidate).vectors == 0


def test_a_log_that_cannot_be_read_is_no_measurement(shop: Shop) -> None:
    candidate = rollout(shop)
    shop.answer(sales(0)[0], slot="green")
    shop.records[0]["vector"] = "[1.0, nonsense"
    write(shop, "green", land_them=True)
    seen = replayed(shop.project, shop.settings, candidate)
    assert seen.vectors is None
    assert "could not be replayed: the prediction log cannot be read" in seen.detail
    assert Path(shop.settings.home).is_dir()
