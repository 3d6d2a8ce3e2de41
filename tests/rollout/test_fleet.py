"""Routers on AWS: real ones that follow a document on S3, each asked what it counted."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from jobs import bucket
from jobs.errors import ServiceError, SettingError
from jobs.rollout import fleet
from jobs.rollout.counters import between
from jobs.rollout.ecs import EcsSlots
from jobs.rollout.fleet import Routers
from jobs.rollout.routes import Sharing
from jobs.services.ports import port
from tests import proxies
from tests.buckets import forget
from tests.clients import asking
from tests.proxies import Answer, Asked
from tests.rollout.cloud import PROJECT, ROUTERS, Cloud, cloud, until
from tests.rollout.walking import walk

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]
FIRST, SECOND, THIRD = ROUTERS


@pytest.fixture(scope="module")
def running(aws: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Two routers, and both slots behind them."""
    home = tmp_path_factory.mktemp("fleet")
    with pytest.MonkeyPatch.context() as patch, cloud(aws, home) as made:
        patch.setattr("jobs.lake.HOME", home / "controller")
        routers = Routers(made.settings)
        for slot in ("blue", "green"):
            made.deploy(slot, 1)
            made.slots[slot]._state["ready"] = True
        for at in (FIRST, SECOND):
            made.start_router(at)
        routers.set_weights(PROJECT, {"blue": 100}, stable="blue")
        until(lambda: routers.observe(PROJECT)["green"].healthy)
        yield made


@pytest.fixture
def routers(running: Cloud) -> Routers:
    made = Routers(running.settings)
    made.set_weights(PROJECT, {"blue": 100}, stable="blue")
    return made


def ask(running: Cloud, at: str, times: int) -> Counter[str]:
    """By which slot the requests to one router were answered."""
    number = port(running.settings, "router")
    with httpx.Client(base_url=f"http://{at}:{number}", timeout=10) as client:
        answers = [client.post(f"/{PROJECT}/predict", headers={"x-entity": f"c{one}"}, json={}) for one in range(times)]
    assert {answer.status_code for answer in answers} == {200}
    return Counter(answer.json()["slot"] for answer in answers)


def test_every_router_takes_the_weights_and_their_counts_are_one(running: Cloud, routers: Routers) -> None:
    routers.set_weights(PROJECT, {"blue": 60, "green": 40}, stable="blue")
    assert routers.sharing(PROJECT) == Sharing(weights={"blue": 60, "green": 40}, stable="blue")
    before = routers.observe(PROJECT)
    answered = ask(running, FIRST, 60)
    assert ask(running, SECOND, 60) == answered, "an entity has the same slot, whichever router it comes by"
    time.sleep(0.6)
    after = routers.observe(PROJECT)
    seen = {slot: between(before[slot], after[slot]) for slot in after}
    assert {slot: one.requests for slot, one in seen.items()} == {slot: 2 * many for slot, many in answered.items()}
    assert sum(count for _, count in seen["green"].latency) == 2 * answered["green"]
    assert after["blue"].healthy
    routers.set_weights(PROJECT, {"blue": 100}, stable="blue", shadow="green")
    before = routers.observe_shadow(PROJECT)
    ask(running, FIRST, 20)
    until(lambda: between(before["green"], routers.observe_shadow(PROJECT)["green"]).requests == 20)


def test_a_router_that_is_added_or_started_again_counts_from_zero(running: Cloud, routers: Routers) -> None:
    routers.set_weights(PROJECT, {"blue": 50, "green": 50}, stable="blue")
    ask(running, FIRST, 30)
    time.sleep(0.6)
    before = routers.observe(PROJECT)
    running.start_router(THIRD)
    try:
        assert ask(running, THIRD, 40)["green"] > 0, "it began with the weights in force, not with its own"
        running.stop(FIRST)
        with pytest.raises(ServiceError, match=f"does not answer on http://{FIRST}"):
            routers.observe(PROJECT)
        running.start_router(FIRST)
        until(lambda: routers.observe(PROJECT)["blue"].healthy)
        answered = ask(running, FIRST, 10) + ask(running, THIRD, 20)
        time.sleep(0.6)
        after = routers.observe(PROJECT)
        assert sum(one.attempts for one in after.values()) >= 70
        seen = sum(between(before[slot], after[slot]).requests for slot in after)
        assert seen == 40 + sum(answered.values()), "what the router counted before it was stopped is nobody's"
    finally:
        running.stop(THIRD)
        running.deregister("router", THIRD)


def test_a_router_that_cannot_reach_the_lake_keeps_its_routes_and_is_waited_for(
    running: Cloud, routers: Routers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "_TAKEN_SECONDS", 2.0)
    denied = [False]

    def change(asked: Asked, forward: Callable[[], Answer]) -> Answer:
        refused = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
        return Answer(403, refused) if denied[0] else forward()

    try:
        with proxies.between(running.address, change):
            running.start_router(THIRD)  # its way to S3 is the one that will be closed
            routers.set_weights(PROJECT, {"blue": 0, "green": 100}, stable="blue")
            denied[0] = True
            os.environ["AWS_ENDPOINT_URL"] = running.address
            forget()
            routers.set_weights(PROJECT, {"blue": 100}, stable="blue")
            with pytest.raises(ServiceError, match=f"routers {THIRD} have not taken the routes"):
                routers.observe(PROJECT)
            with pytest.raises(ServiceError, match="still answers requests"):
                routers.drain(PROJECT, "green", 1)
            assert (ask(running, THIRD, 10)["green"], ask(running, FIRST, 10)["blue"]) == (10, 10)
            denied[0] = False
            until(lambda: ask(running, THIRD, 10)["blue"] == 10)
            routers.drain(PROJECT, "green", 5)
    finally:
        running.stop(THIRD)
        running.deregister("router", THIRD)


def test_two_controllers_that_change_the_document_at_once_lose_nothing(running: Cloud, routers: Routers) -> None:
    other, raced = Routers(running.settings), [False]

    def change(asked: Asked, forward: Callable[[], Answer]) -> Answer:
        if asked.line.startswith("PUT") and "routes.json" in asked.line and not raced[0]:
            raced[0] = True
            other.set_weights("ads", {"blue": 30, "green": 70}, stable="green")
        return forward()

    with proxies.between(running.address, change) as asked:
        routers.set_weights(PROJECT, {"blue": 5, "green": 95}, stable="green")
        writes = [one.line for one in asked if one.line.startswith("PUT")]
    assert len(writes) == 3, "one of the two had to write once more"
    assert routers.weights(PROJECT) == {"blue": 5, "green": 95}
    assert routers.weights("ads") == {"blue": 30, "green": 70}


def test_a_walk_behind_two_routers_goes_back_and_no_client_sees_a_failure(
    running: Cloud, routers: Routers, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EcsSlots, "pause", 0.1)
    walked = walk(running, postgres, shadow_seconds=0)
    over = threading.Event()

    def keep_asking(number: int) -> None:
        while not over.is_set():
            ask(running, (FIRST, SECOND)[number], 20)

    with running.aws():
        champion = walked.champion()
        fresh = walked.challenger(2)
        with asking(keep_asking, over, 2):
            code, facts = walked.ask("start")
            assert (code, facts["release"], facts["slot"]) == (0, fresh, "green"), facts
            code, facts = walked.decided("step", percent=50)
            assert (code, routers.weights(PROJECT)) == (0, {"blue": 50, "green": 50}), facts
            running.slots["green"].failing = True
            code, facts = walked.decided("step", percent=100)
            assert (code, facts["state"]) == (1, "rolled_back"), facts
            assert "requests failed" in facts["reason"], "attempts are counted, though blue answered for green"
            assert routers.weights(PROJECT) == {"blue": 100, "green": 0}
            routers.drain(PROJECT, "green", 10)
            running.slots["green"].failing = False
    told = EcsSlots(running.settings).assignment(PROJECT, "blue")
    assert told is not None
    assert (told.release, told.epoch) == (champion, 1)


def test_over_tcp_a_router_is_only_read(running: Cloud) -> None:
    admin = running.admin(FIRST)
    for path in ("/ready", "/stats", "/clusters"):
        assert httpx.get(f"{admin}{path}").status_code == 200
        assert httpx.post(f"{admin}{path}").status_code == 403
    for path in ("/quitquitquit", "/reset_counters", "/config_dump", "/server_info", "/stats/prometheus", "/"):
        assert httpx.get(f"{admin}{path}").status_code == httpx.post(f"{admin}{path}").status_code == 403, path
    assert httpx.get(f"{admin}/ready").status_code == 200


def test_the_end_of_envoy_is_the_end_of_its_container(running: Cloud) -> None:
    running.start_router(THIRD)
    running.deregister("router", THIRD)
    (envoy,) = (
        Path(f"/proc/{running.running[THIRD].pid}/task/{running.running[THIRD].pid}/children").read_text().split()
    )
    os.kill(int(envoy), 9)
    assert running.running[THIRD].wait(10) == 128 + 9
    assert running.stop(THIRD) == 137


def test_a_document_that_is_none_is_not_taken(running: Cloud, routers: Routers) -> None:
    place, key = bucket.Bucket(running.settings.lake_uri.removeprefix("s3://")), "routes/routes.json"
    found = place.get(key)
    assert found is not None
    place.put(key, b"{}")
    time.sleep(2)
    assert ask(running, FIRST, 5) == {"blue": 5}
    assert "is no document of routes" in (running.home / f"{FIRST}.log").read_text()
    place.put(key, found.data)


def test_without_the_namespace_the_setting_is_named(running: Cloud) -> None:
    lost = Routers(running.settings.model_copy(update={"namespace": "elsewhere.internal"}))
    with pytest.raises(SettingError, match=r"there is no router, which TIDEMILL_NAMESPACE names"):
        lost.observe(PROJECT)
