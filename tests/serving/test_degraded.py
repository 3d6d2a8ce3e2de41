"""Parts that fail under load: no request fails for it, and what was lacking is in the answer, the log and the metrics."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from jobs.errors import ServiceError
from jobs.release.bundle import Bundle
from tests.features.stores import RedisServer
from tests.serving.conftest import Stack, make_stack, payment, until
from tests.serving.load import Answered, load

pytestmark = pytest.mark.services


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.remove()


def causes(answers: list[Answered]) -> set[tuple[str, ...]]:
    return {tuple(one.body["degraded_by"]) for one in answers}


def slow(answers: list[Answered]) -> int:
    return sum(one.seconds > 0.2 for one in answers)


@pytest.mark.fault("F66")
def test_redis_stopped_and_killed_under_load(tmp_path: Path, redis: RedisServer, bundles: dict[str, Bundle]) -> None:
    stack = make_stack(tmp_path, f"{redis.url}?db=0")
    try:
        stack.assign("blue", bundles["lightgbm"])
        stack.start("blue", bundles["lightgbm"].release)
        with load(stack) as clients:
            clients.more(400)
            assert causes(clients.answers) == {()}
            redis.send(signal.SIGSTOP)
            clients.until_degraded(True)
            hung = len(clients.answers)
            time.sleep(3)
            stopped = clients.answers[hung:]
            redis.send(signal.SIGCONT)
            clients.until_degraded(False)
            redis.stop(signal.SIGKILL)
            clients.until_degraded(True)
            clients.more(200)
        assert {one.status for one in clients.answers} == {200}
        assert causes(stopped) <= {("last_known_features",), ("default_features",)}
        assert len(stopped) > 300, "it answers on"
        assert slow(stopped) <= 4 * 6, "each trial of the breaker may cost every client one time-out, and no more"
        assert {("last_known_features",), ()} <= causes(clients.answers)
        assert stack.counted("tidemill_degraded_total") == sum(one.body["degraded"] for one in clients.answers)
        assert stack.counted("tidemill_breaker") > 0
        assert stack.counted("tidemill_breaker_opened_total") >= 2
        assert stack.counted("tidemill_predictions_dropped_total") == 0
        until(lambda: len(stack.logged("t")) == len({one.body["request_id"] for one in clients.answers}))
        for record in stack.logged("t").values():
            assert record["degraded"] is bool(record["degraded_by"])
        assert "the online store is not asked for a while" in (stack.settings.home / "blue.log").read_text()
    finally:
        stack.stop_all()


@pytest.mark.fault("F66")
def test_sqlite_locked_under_load(stack: Stack, bundles: dict[str, Bundle]) -> None:
    stack.assign("blue", bundles["lightgbm"])
    stack.start("blue", bundles["lightgbm"].release)
    file = Path(stack.settings.online_store_url.removeprefix("sqlite:///")) / "fraud.sqlite"
    with load(stack) as clients:
        clients.more(300)
        lock = sqlite3.connect(file, isolation_level=None, timeout=30)
        lock.execute("begin exclusive")  # readers go on, writers wait: events are kept in memory
        locked = len(clients.answers)
        clients.more(300)
        meanwhile = clients.answers[locked:]
        assert stack.counted("tidemill_events_unsaved") > 0
        lock.execute("rollback")
        until(lambda: stack.counted("tidemill_events_unsaved") == 0)
        clients.more(100)
    assert {one.status for one in clients.answers} == {200}
    assert causes(clients.answers) == {()}, "it can be read, and what waits to be written is read with it"
    assert sum(one.seconds > 0.05 for one in meanwhile) < len(meanwhile) / 3, "not every request waits for the lock"


def test_without_its_bundle_a_slot_serves_the_release_before_and_then_the_rule(
    stack: Stack, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    first, second = bundles["lightgbm"], bundles["xgboost"]
    mine = tmp_path / "mine"
    shutil.copytree(second.folder, mine)
    stack.assign("blue", first)
    stack.start("blue", first.release)
    before = stack.client().post("/fraud/predict", json=payment(5)).json()
    stack.stop("blue")
    stack.assign("blue", Bundle(release=second.release, digest=second.digest, folder=mine, manifest=second.manifest))
    stack.start("blue", second.release)
    stack.start_router()
    with load(stack, "router") as clients:
        clients.more(50)
        shutil.rmtree(mine)
        copies = stack.settings.home / "serving" / "fraud" / "releases"
        shutil.rmtree(copies / f"blue-{second.digest[:24]}")
        clients.more(50)
        assert {one.body["release"] for one in clients.answers} == {second.release}, "what is loaded goes on"

    stack.stop("blue")
    with pytest.raises(ServiceError, match="refused"):
        stack.start("blue", second.release)
    answer = stack.client().post("/fraud/predict", json=payment(5)).json()
    assert (answer["release"], answer["degraded_by"]) == (first.release, ["previous_release"])
    assert answer["probability"] == before["probability"]
    assert stack.slots.state("fraud", "blue")["ready"] is True

    stack.stop("blue")
    model = copies / f"blue-{first.digest[:24]}" / first.manifest["models"][0]["file"]
    model.write_bytes(b"no model")
    for name in ("blue.verified.json", "blue.previous.json"):
        told = json.loads((copies.parent / name).read_bytes())
        (copies.parent / name).write_text(json.dumps({**told, "folder": str(tmp_path / "nowhere")}))
    with pytest.raises(ServiceError, match="refused"):
        stack.start("blue", second.release)
    assert stack.slots.state("fraud", "blue")["ready"] is False, "the router asks another slot where there is one"
    with load(stack, "router") as clients:
        until(lambda: any(one.status == 200 for one in clients.answers))
        clients.more(50)
    ruled = clients.answers[-50:]
    assert {(one.status, one.body["release"], tuple(one.body["degraded_by"])) for one in ruled} == {
        (200, "rule", ("rule_baseline",))
    }
    low, high = (
        stack.client().post("/fraud/predict", json=payment(amount_cents=cents)).json() for cents in (22_000, 22_001)
    )
    assert [(one["probability"], one["decision"]) for one in (low, high)] == [(0.0, "approve"), (1.0, "decline")]
    explained = stack.client().post("/fraud/explain", json=payment())
    assert (explained.status_code, explained.headers["retry-after"]) == (503, "5")
    until(lambda: any(record["release"] == "rule" for record in stack.logged("t").values()))


def test_a_release_that_was_taken_away_is_nothing_to_fall_back_to(
    stack: Stack, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    champion, loser = bundles["lightgbm"], bundles["xgboost"]
    for told, epoch in ((champion, 1), (loser, 2)):
        stack.assign("blue", told, epoch=epoch)
        stack.start("blue", told.release)
        stack.stop("blue")
    stack.slots.clear("fraud", "blue")
    stack.start("blue", None)
    assert stack.client().post("/fraud/predict", json=payment()).status_code == 503
    stack.stop("blue")
    wrong = Bundle(release="r-gone", digest="0" * 64, folder=tmp_path / "gone", manifest={})
    stack.assign("blue", wrong, epoch=3)
    with pytest.raises(ServiceError, match="refused"):
        stack.start("blue", wrong.release)
    answer = stack.client().post("/fraud/predict", json=payment()).json()
    assert (answer["release"], answer["degraded_by"]) == (champion.release, ["previous_release"])


def test_a_request_whose_turn_comes_too_late_is_told_so(stack: Stack, bundles: dict[str, Bundle]) -> None:
    stack.assign("blue", bundles["lightgbm"])
    stack.start_otherwise(
        "blue", bundles["lightgbm"].release, deadline_milliseconds=1
    )  # reading so many rows takes longer
    body = json.dumps({"rows": [payment(number) for number in range(1_000)]})

    def ask(_: int) -> httpx.Response:
        with stack.client() as client:
            return client.post("/fraud/predict", content=body)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(64)))
    refused = [answer for answer in answers if answer.status_code == 503]
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert refused
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert all("after its deadline" in answer.json()["error"] for answer in refused)
    assert stack.counted("tidemill_deadline_exceeded_total") >= len(refused)
    assert 200 in {stack.client().post("/fraud/predict", json=payment()).status_code for _ in range(20)}
