"""Recommended films from delivered files to lists that a real process answers with, every stage being the real one."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from demo.traffic import events_of
from jobs.batch import Batches
from jobs.lake import Lake
from jobs.projects.recsys import simulate as world
from jobs.projects.recsys.spec import RECSYS
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
SPLIT = Split(train_days=8, delay_days=1, test_days=2, folds=1)
PROJECT = replace(
    RECSYS,
    models=(
        replace(RECSYS.models[0], trials=1, split=SPLIT),
        replace(RECSYS.models[1], trials=3, learners=("lightgbm",), split=SPLIT),
    ),
)
DAYS = span(SPLIT) + SPLIT.delay_days + SPLIT.test_days + 1
HISTORY = Batches(RECSYS.start, RECSYS.start + timedelta(days=DAYS - 1))
SERVED = HISTORY.last + timedelta(days=1)
VISITS = 1.5
"""A day: so that few days have enough to learn from."""


@dataclass(frozen=True)
class Released:
    """A release that passed its gate, in a home of its own."""

    settings: Settings
    evaluation: dict[str, Any]
    verdict: str
    folder: Any


@dataclass(frozen=True)
class Answered:
    """What a real process answered to the next day's offers, visit by visit, and to viewers who named no film."""

    offered: list[list[dict[str, Any]]]
    ranked: list[list[dict[str, Any]]]
    lists: dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def released(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Released:
    home = home_of(tmp_path_factory.mktemp("recsys"))
    settings = own_database(home, postgres).model_copy(
        update={"api_key": SecretStr(KEY), "port_base": free_port_base()}
    )
    with pytest.MonkeyPatch.context() as often:
        often.setattr(world, "VISITS", VISITS)
        simulate.run(PROJECT, settings, batches=HISTORY, out=settings.home / "delivery", mishaps=True, deliver=True)
    world._offered.cache_clear()
    found = backfill.run(PROJECT, settings, batches=HISTORY)
    assert found.exit_code == 0, found.line
    assert found.facts["quarantined"] > 0, "what was malformed is put aside"
    snapshot.run(PROJECT, settings, run="first", as_of=str(HISTORY.last), negative_control=False)
    lines = {}
    for stage in (train, evaluate, gate, register):
        result = lines[stage.__name__.rpartition(".")[2]] = stage.run(PROJECT, settings, run="first")
        assert result.exit_code == 0, result.line
    with Ledger(settings.need("database_url")) as ledger:
        challenger = ledger.challenger(RECSYS.name)
    assert challenger is not None
    slots, folder = Slots(settings), Lake(settings.lake_uri).release(RECSYS.name, challenger.release)
    slots.assign(RECSYS.name, "blue", challenger.release, challenger.digest, 1, folder)
    return Released(settings, dict(lines["evaluate"].facts), lines["gate"].line, folder)


@pytest.fixture(scope="module")
def answered(released: Released) -> Answered:
    settings, slots = released.settings, Slots(released.settings)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL_")}
    told = {
        "TIDEMILL_HOME": str(settings.home), "TIDEMILL_LAKE_URI": settings.lake_uri, "TIDEMILL_API_KEY": KEY,
        "TIDEMILL_ONLINE_STORE_URL": settings.online_store_url, "TIDEMILL_PORT_BASE": str(settings.port_base),
        "TIDEMILL_MLFLOW_URL": settings.mlflow_url,
    }  # fmt: skip
    offered = [list(rows) for _, rows in groupby(events_of(RECSYS, SERVED, 1), key=itemgetter("request_id"))]
    known, asked = offered[-1][0], ("impression_id", "event_time", "request_id", "user_id", "last_item_id")
    film = offered[0][0]["item_id"]
    visits = {
        "known": {name: known[name] for name in asked} | {"impression_id": "K", "last_item_id": 0},
        "new": {name: known[name] for name in asked} | {"impression_id": "N", "user_id": "new", "last_item_id": 0},
        "similar": {name: known[name] for name in asked} | {"impression_id": "S", "user_id": "new", "last_item_id": film},
    }  # fmt: skip
    command = [str(places.environment_python("serve")), "-m", "bentos", RECSYS.name, "blue"]
    with (settings.home / "slot.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=kept | told, stdout=log, stderr=log)
    try:
        slots.wait_ready(RECSYS.name, "blue", released.folder.name, 120)
        headers = {"Authorization": f"Bearer {KEY}"}
        url = slots.url(RECSYS.name, "blue")
        with httpx.Client(base_url=url, headers=headers, timeout=20, trust_env=False) as client:

            def ask(body: dict[str, Any]) -> list[dict[str, Any]]:
                answer = client.post(f"/{RECSYS.name}/predict", json=body)
                assert answer.status_code == 200, answer.text
                rows: list[dict[str, Any]] = answer.json()["rows"]
                return rows

            ranked = [ask({"rows": rows}) for rows in offered]
            lists = {name: ask(visit) for name, visit in visits.items()}
    finally:
        process.terminate()
        process.wait(30)
    return Answered(offered, ranked, lists)


def test_the_gate_holds_candidates_and_their_order_against_simpler_ones(released: Released) -> None:
    told = released.evaluation["models"]
    retrieval, ranking = told["retrieval"], told["ranking"]
    found = retrieval["challenger"]["recall_at_100"]
    assert found > retrieval["baselines"]["popularity"]["recall_at_100"] + 0.05
    assert ranking["challenger"]["ndcg_at_10"] > ranking["baselines"]["logistic_regression"]["ndcg_at_10"]
    assert "PROMOTE" in released.verdict


def test_both_models_are_one_release(released: Released) -> None:
    names = {path.name for path in released.folder.iterdir()}
    assert {"retrieval.npz", "retrieval.voy", "manifest.json"} <= names
    assert any(name.startswith("ranking.") for name in names)


def test_films_that_are_named_are_ranked_within_their_visit(answered: Answered) -> None:
    for rows, answer in zip(answered.offered, answered.ranked, strict=True):
        assert sorted(one["position"] for one in answer) == list(range(1, len(rows) + 1))
        assert not any(one["degraded"] or "item" in one for one in answer)


def test_a_visit_that_names_no_film_is_answered_by_a_list(answered: Answered) -> None:
    topics = {row["item_id"]: row["topic"] for rows in answered.offered for row in rows}
    for name, answer in answered.lists.items():
        films = [row["item"]["item_id"] for row in answer]
        assert len(set(films)) == len(films) == 10, name
        assert max(Counter(row["item"]["topic"] for row in answer).values()) <= 4
        assert all(topics.get(row["item"]["item_id"], row["item"]["topic"]) == row["item"]["topic"] for row in answer)
    lists = {name: {row["item"]["item_id"] for row in answer} for name, answer in answered.lists.items()}
    assert lists["known"] != lists["new"] != lists["similar"]


def test_what_was_served_is_what_training_would_see(released: Released, answered: Answered) -> None:
    settings, day = released.settings, Batches(SERVED, SERVED)
    simulate.run(PROJECT, settings, batches=day, out=settings.home / "delivery", deliver=True)
    assert backfill.run(PROJECT, settings, batches=day).exit_code == 0
    assert ingest.run(PROJECT, settings, batches=day, source="predictions").exit_code == 0
    found = replay.run(PROJECT, settings, batches=day)
    named = sum(map(len, answered.offered))
    assert found.facts["identical"] >= named, found.line
