"""Search from delivered files to a release that a real process answers with, every stage being the real one."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import SecretStr

from demo.traffic import events_of
from jobs.batch import Batches
from jobs.lake import Lake
from jobs.projects.search import simulate as world
from jobs.projects.search.spec import SEARCH
from jobs.release.ledger import Ledger
from jobs.rollout.slots import Slots
from jobs.services import places
from jobs.settings import ROOT, Settings
from jobs.spec import Split
from jobs.stages import backfill, evaluate, gate, ingest, register, replay, simulate, snapshot, train
from jobs.training.splits import span
from tests.ports import free_port_base
from tests.training.runs import home_of
from tests.training.synthetic import own_database

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
KEY = "key-of-these-tests"
SPLIT = Split(train_days=4, delay_days=1, test_days=2, folds=1)
# A few days do not tell trees from a straight line: what the gate asks of the fortnight is the demo's to show.
PROJECT = replace(
    SEARCH, models=(replace(SEARCH.models[0], trials=1, learners=("lightgbm",), baselines=("rule",), split=SPLIT),)
)
DAYS = span(SPLIT) + SPLIT.delay_days + SPLIT.test_days + 1
HISTORY = Batches(SEARCH.start, SEARCH.start + timedelta(days=DAYS - 1))
SERVED = HISTORY.last + timedelta(days=1)


@dataclass(frozen=True)
class Released:
    """A release that passed its gate, in a home of its own."""

    settings: Settings
    evaluation: dict[str, Any]
    verdict: str


@pytest.fixture(scope="module")
def released(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Released:
    home = home_of(tmp_path_factory.mktemp("search"))
    settings = own_database(home, postgres).model_copy(
        update={"api_key": SecretStr(KEY), "port_base": free_port_base()}
    )
    out = settings.home / "delivery"
    simulate.run(PROJECT, settings, batches=HISTORY, out=out, mishaps=True, deliver=True)
    found = backfill.run(PROJECT, settings, batches=HISTORY)
    assert found.exit_code == 0, found.line
    assert found.facts["quarantined"] > 0, "what was malformed is put aside"
    snapshot.run(PROJECT, settings, run="first", as_of=str(HISTORY.last), negative_control=False)
    lines = {}
    for stage in (train, evaluate, gate, register):
        result = lines[stage.__name__.rpartition(".")[2]] = stage.run(PROJECT, settings, run="first")
        assert result.exit_code == 0, result.line
    return Released(settings, dict(lines["evaluate"].facts), lines["gate"].line)


@pytest.fixture(scope="module")
def answered(released: Released) -> tuple[list[list[dict[str, Any]]], list[list[dict[str, Any]]]]:
    """The next day's searches, and what a real process answered to each; its prediction log has landed by then."""
    settings, slots = released.settings, Slots(released.settings)
    with Ledger(settings.need("database_url")) as ledger:
        challenger = ledger.challenger(SEARCH.name)
    assert challenger is not None
    folder = Lake(settings.lake_uri).release(SEARCH.name, challenger.release)
    slots.assign(SEARCH.name, "blue", challenger.release, challenger.digest, 1, folder)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL_")}
    told = {
        "TIDEMILL_HOME": str(settings.home), "TIDEMILL_LAKE_URI": settings.lake_uri, "TIDEMILL_API_KEY": KEY,
        "TIDEMILL_ONLINE_STORE_URL": settings.online_store_url, "TIDEMILL_PORT_BASE": str(settings.port_base),
        "TIDEMILL_MLFLOW_URL": settings.mlflow_url,
    }  # fmt: skip
    searches = [list(rows) for _, rows in groupby(events_of(SEARCH, SERVED, 1), key=itemgetter("search_id"))]
    command = [str(places.environment_python("serve")), "-m", "bentos", SEARCH.name, "blue"]
    with (settings.home / "slot.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=kept | told, stdout=log, stderr=log)
    try:
        slots.wait_ready(SEARCH.name, "blue", challenger.release, 120)
        headers = {"Authorization": f"Bearer {KEY}"}
        url = slots.url(SEARCH.name, "blue")
        with httpx.Client(base_url=url, headers=headers, timeout=20, trust_env=False) as client:
            answers = []
            for rows in searches:
                answer = client.post(f"/{SEARCH.name}/predict", json={"rows": rows})
                assert answer.status_code == 200, answer.text
                answers.append(answer.json()["rows"])
            both = client.post(f"/{SEARCH.name}/predict", json={"rows": searches[0][::-1] + searches[1]}).json()["rows"]
            told = client.post(f"/{SEARCH.name}/explain", json={"rows": searches[0]}).json()["rows"]
            assert [one["score"] for one in told] == [one["score"] for one in answers[0]]
            assert not {"probability", "decision"} & set(told[0]), "a ranking has no probability to decide by"
            alone = [*answers[0][::-1], *answers[1]]
            assert list(map(placed, both)) == list(map(placed, alone)), "another search in the request changes nothing"
    finally:
        process.terminate()
        process.wait(30)
    return searches, answers


def placed(row: dict[str, Any]) -> tuple[float, int]:
    return row["score"], row["position"]


def test_the_gate_holds_the_order_against_the_indexs_own(released: Released) -> None:
    told = released.evaluation["models"]["search"]
    assert told["challenger"]["ndcg_at_10"] > told["baselines"]["rule"]["ndcg_at_10"] + 0.02
    assert 0 < told["challenger"]["mean_reciprocal_rank"] < 1
    assert "PROMOTE" in released.verdict


def test_each_search_is_answered_with_an_order_of_its_documents(answered) -> None:
    for rows, answer in zip(*answered, strict=True):
        assert sorted(one["position"] for one in answer) == list(range(1, len(rows) + 1))
        scores = [one["score"] for one in sorted(answer, key=itemgetter("position"))]
        assert scores == sorted(scores, reverse=True)
        assert not any(one["degraded"] for one in answer)


def test_the_order_is_nearer_to_what_people_want_than_the_indexs(answered) -> None:
    """By the relevance that the simulator made its clicks of, which no model sees."""
    library = world._library(1, False)
    ours, index = [], []
    for rows, answer in zip(*answered, strict=True):
        query = library.queries.index(rows[0]["query"])
        place = {f"D{document:05d}": spot for spot, document in enumerate(library.found[query].tolist())}
        found_now = world.wanted(library, np.array([query]), SERVED)[0]
        wanted = np.array([found_now[place[row["document_id"]]] for row in rows])
        worth = 1 / (1 + np.exp(-wanted))
        found = np.array([2 * row["title_score"] + row["body_score"] for row in rows])
        positions = np.array([one["position"] for one in answer])
        ours.append(worth[positions.argsort()] @ world.EXAMINED[: len(rows)])
        index.append(worth[(-found).argsort(kind="stable")] @ world.EXAMINED[: len(rows)])
    assert np.mean(ours) > np.mean(index) * 1.05


def test_what_was_served_is_what_training_would_see(released: Released, answered) -> None:
    settings, day = released.settings, Batches(SERVED, SERVED)
    simulate.run(PROJECT, settings, batches=day, out=settings.home / "delivery", deliver=True)
    assert backfill.run(PROJECT, settings, batches=day).exit_code == 0
    assert ingest.run(PROJECT, settings, batches=day, source="predictions").exit_code == 0
    found = replay.run(PROJECT, settings, batches=day)
    assert found.exit_code == 0, found.line
    searches = answered[0]  # the first two were asked once more, together
    assert found.facts["vectors"] == sum(map(len, [*searches, *searches[:2]]))
    assert found.facts["identical"] == found.facts["vectors"], found.line
