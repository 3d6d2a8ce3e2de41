"""Two slots behind the router: weights, stickiness, retries, and what the router counted."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from jobs.errors import ServiceError, UsageError
from jobs.release.bundle import Bundle
from jobs.rollout.counters import Counters, between
from jobs.rollout.router import Router
from jobs.rollout.routes import Sharing
from jobs.settings import Settings
from tests.serving.conftest import Stack, payment, until
from tests.serving.history import AS_OF
from tests.serving.load import load


def test_weights_are_kept_and_must_sum_to_100(settings: Settings) -> None:
    router = Router(settings)
    router.bootstrap()
    assert (router.weights("fraud"), router.stable("fraud")) == ({"blue": 100, "green": 0}, "blue")
    router.set_weights("fraud", {"blue": 5, "green": 95}, stable="green")
    router.bootstrap()
    assert (router.weights("fraud"), router.stable("fraud")) == ({"blue": 5, "green": 95}, "green")
    router.set_weights("fraud", {"green": 100}, stable="green")
    for wrong in ({"blue": 50, "green": 49}, {"blue": 101, "green": -1}, {"red": 100}):
        with pytest.raises(UsageError, match="sum to 100"):
            router.set_weights("fraud", wrong, stable="blue")
    assert router.weights("fraud") == {"blue": 0, "green": 100}
    router.set_weights("fraud", {"blue": 100}, stable="blue", shadow="green")
    assert router.sharing("fraud") == Sharing(weights={"blue": 100, "green": 0}, stable="blue", shadow="green")
    with pytest.raises(ServiceError, match="it was not stopped"):
        router.drain("fraud", "green", 1)


def test_traffic_is_the_difference_of_two_observations() -> None:
    before = Counters(attempts=100, errors=5, latency=((5.0, 90), (20.0, 5)))
    after = Counters(attempts=300, errors=15, latency=((5.0, 280), (20.0, 5)))
    seen = between(before, after)
    assert (seen.requests, seen.errors, seen.error_rate) == (200, 10, 0.05)
    assert seen.latency == ((5.0, 190.0), (20.0, 0.0))
    assert seen.quantile(0.5) == 2.5
    restarted = between(after, Counters(attempts=10, errors=1, latency=((5.0, 9),)))
    assert (restarted.requests, restarted.errors) == (10, 1)
    assert between(after, after).error_rate is between(after, after).quantile(0.95) is None


@pytest.fixture(scope="module")
def routed(slot: Stack, bundles: dict[str, Bundle]) -> Stack:
    slot.start_router()
    return slot


@contextmanager
def candidate(routed: Stack, bundle: Bundle, percent: int, rehearse: str | None = None) -> Iterator[None]:
    routed.assign("green", bundle, rehearse=rehearse)
    routed.start("green", bundle.release)
    until(lambda: routed.router.observe("fraud")["green"].healthy)
    routed.router.set_weights("fraud", {"blue": 100 - percent, "green": percent}, stable="blue")
    time.sleep(0.5)
    try:
        yield
    finally:
        routed.router.set_weights("fraud", {"blue": 100}, stable="blue")
        if "green" in routed.running:
            routed.stop("green", signal.SIGKILL)


@pytest.mark.services
def test_weights_change_under_load_and_no_request_fails(routed: Stack, bundles: dict[str, Bundle]) -> None:
    with candidate(routed, bundles["xgboost"], 0), load(routed, "router") as clients:
        for percent in (5, 25, 50, 100, 0, 30):
            routed.router.set_weights("fraud", {"blue": 100 - percent, "green": percent}, stable="blue")
            time.sleep(0.3)
            clients.more(150)
        before, routed_so_far = routed.router.observe("fraud"), len(clients.answers)
        clients.more(400)
        time.sleep(0.2)
        after = routed.router.observe("fraud")
        since = Counter(one.body["slot"] for one in clients.answers[routed_so_far:])
    assert clients.failed() == []
    seen = {slot: between(before[slot], after[slot]).requests for slot in before}
    assert 0.15 < seen["green"] / sum(seen.values()) < 0.45
    assert 0.15 < since["green"] / sum(since.values()) < 0.45


@pytest.mark.services
def test_an_entity_stays_with_its_slot_and_moves_one_way_only(routed: Stack, bundles: dict[str, Bundle]) -> None:
    def served(client: httpx.Client) -> dict[int, str]:
        entities = range(60)
        return {
            entity: client.post("/fraud/predict", json=payment(entity), headers={"x-entity": f"c{entity}"}).json()[
                "slot"
            ]
            for entity in entities
        }

    with candidate(routed, bundles["xgboost"], 30), routed.client("router") as client:
        until(lambda: "green" in served(client).values())  # a busy machine may miss a health check at first
        few = served(client)
        assert served(client) == few
        assert 4 < list(few.values()).count("green") < 35
        routed.router.set_weights("fraud", {"blue": 40, "green": 60}, stable="blue")
        time.sleep(0.5)
        more = served(client)
    moved_back = [entity for entity in few if few[entity] == "green" and more[entity] == "blue"]
    assert moved_back == []
    assert list(more.values()).count("green") > list(few.values()).count("green")


@pytest.mark.services
def test_an_entity_that_only_the_body_names_stays_with_its_slot_as_well(
    routed: Stack, bundles: dict[str, Bundle]
) -> None:
    def served(client: httpx.Client, entity: int, header: bool) -> str:
        headers = {"x-entity": f"c{entity}"} if header else {}
        return str(client.post("/fraud/predict", json=payment(entity), headers=headers).json()["slot"])

    with candidate(routed, bundles["xgboost"], 40), routed.client("router") as client:
        until(lambda: "green" in {served(client, entity, True) for entity in range(30)})
        said = [served(client, entity, True) for entity in range(60)]
        assert [served(client, entity, False) for entity in range(60)] == said
        nobody = {"rows": [payment(1, customer_id='c\\" 1')]}
        assert client.post("/fraud/predict", json=nobody).status_code == 200
        assert client.post("/fraud/predict", content=b'{"customer_id": 1}').status_code == 422
    assert set(said) == {"blue", "green"}


@pytest.mark.services
def test_a_shadow_is_asked_the_same_and_leaves_the_answer_to_the_stable_slot(
    routed: Stack, bundles: dict[str, Bundle]
) -> None:
    with candidate(routed, bundles["xgboost"], 0), routed.client("router") as client:
        live, mirrored = routed.router.observe("fraud"), routed.router.observe_shadow("fraud")
        routed.router.set_weights("fraud", {"blue": 100}, stable="blue", shadow="green")
        time.sleep(0.5)
        asked = [payment(number, transaction_id=f"mirrored-{number}") for number in range(100)]
        answers = [client.post("/fraud/predict", json=one, headers={"x-tidemill-shadow": "1"}) for one in asked]
        assert {answer.json()["slot"] for answer in answers} == {"blue"}
        until(lambda: between(mirrored["green"], routed.router.observe_shadow("fraud")["green"]).requests == 100)
        now = routed.router.observe("fraud")
        assert [between(live[slot], now[slot]).requests for slot in ("blue", "green")] == [100, 0]
        routed.router.set_weights("fraud", {"blue": 100}, stable="blue")
        routed.router.drain("fraud", "green", 5)
        routed.stop("green")
    until(lambda: len(routed.logged("mirrored-")) == 100)
    ids = {answer.json()["request_id"] for answer in answers}
    assert {one["request_id"] for one in routed.logged("mirrored-").values()} == ids, (
        "a client cannot say it is a shadow"
    )
    lines = [line for path in routed.lake.shadow("fraud", AS_OF.date()).glob("*.jsonl") for line in path.open()]
    assert {json.loads(line)["request_id"] for line in lines} == ids


@pytest.mark.services
def test_a_slot_is_drained_when_its_last_request_is_answered(routed: Stack, bundles: dict[str, Bundle]) -> None:
    with candidate(routed, bundles["xgboost"], 100, "slow"), load(routed, "router") as clients:
        clients.more(20)
        with pytest.raises(ServiceError, match="100 % of the traffic"):
            routed.router.drain("fraud", "green", 5)
        routed.router.set_weights("fraud", {"blue": 100}, stable="blue")
        routed.router.drain("fraud", "green", 10)
        routed.stop("green", signal.SIGKILL)
        clients.more(100)
    assert clients.failed() == []


@pytest.mark.services
def test_explanations_go_where_predictions_go_and_do_not_count(routed: Stack, bundles: dict[str, Bundle]) -> None:
    def asked(client: httpx.Client, path: str) -> list[str]:
        headers = [{"x-entity": f"c{entity}"} for entity in range(40)]
        return [
            client.post(f"/fraud/{path}", json=payment(entity), headers=header).json()["slot"]
            for entity, header in enumerate(headers)
        ]

    with candidate(routed, bundles["xgboost"], 30), routed.client("router") as client:
        until(lambda: "green" in asked(client, "explain"))  # a busy machine may miss a health check at first
        served = asked(client, "predict")
        time.sleep(1.2)  # the router merges its histograms twice a second
        before = routed.router.observe("fraud")
        assert asked(client, "explain") == served
        assert client.post("/fraud/explain", content=b"{").status_code == 400
        time.sleep(1.2)
        after = routed.router.observe("fraud")
        routed.stop("green", signal.SIGKILL)
        assert set(asked(client, "explain")) == {"blue"}
    assert {"blue", "green"} == set(served)
    for slot in ("blue", "green"):
        assert between(before[slot], after[slot]).requests == 0
        assert after[slot].latency == before[slot].latency


@pytest.mark.services
@pytest.mark.fault("F55")
def test_a_candidate_killed_under_load_fails_no_request(routed: Stack, bundles: dict[str, Bundle]) -> None:
    with candidate(routed, bundles["xgboost"], 50), load(routed, "router") as clients:
        clients.more(200)
        routed.stop("green", signal.SIGKILL)
        killed_at = len(clients.answers)
        clients.more(300)
        until(lambda: not routed.router.observe("fraud")["green"].healthy)
    assert clients.failed() == []
    assert {one.body["slot"] for one in clients.answers[killed_at + 20 :]} == {"blue"}


@pytest.mark.services
@pytest.mark.fault("F56")
@pytest.mark.parametrize("kind", ["errors", "slow"])
def test_a_rehearsed_candidate_shows_in_the_counts_and_not_to_clients(
    routed: Stack, bundles: dict[str, Bundle], kind: str
) -> None:
    before = routed.router.observe("fraud")
    with candidate(routed, bundles["xgboost"], 50, kind), load(routed, "router") as clients:
        clients.more(300)
        until(lambda: between(before["green"], routed.router.observe("fraud")["green"]).requests >= 100)
    time.sleep(1.2)  # the router merges its histograms twice a second
    after = routed.router.observe("fraud")
    seen: dict[str, Any] = {slot: between(before[slot], after[slot]) for slot in before}
    assert clients.failed() == []
    assert seen["blue"].errors == 0
    if kind == "errors":
        assert seen["green"].error_rate == pytest.approx(0.2, abs=0.08)
    else:
        assert seen["green"].error_rate == 0
        assert seen["green"].quantile(0.5) > 100


@pytest.mark.services
def test_the_router_opens_nothing_else(routed: Stack) -> None:
    client = routed.client("router")
    assert client.get("/livez").status_code == 200
    for path in ("/", "/readyz", "/metrics", "/other/predict", "/other/explain", "/fraud/../readyz", "/fraud/other"):
        answer = client.get(path)
        assert answer.status_code == 404, path
        assert answer.json()["error"]
    large = client.post("/fraud/predict", content=b" " * 1_100_000)
    assert (large.status_code, bool(large.json()["error"])) == (413, True)
    assert client.post("/fraud/predict", json=payment(), headers={"Authorization": "no"}).status_code == 401
    admin = f"http://127.0.0.1:{routed.settings.port_base + 1}"
    assert httpx.get(f"{admin}/ready").status_code == 200
    for path in ("/stats", "/config_dump", "/clusters"):
        assert httpx.get(f"{admin}{path}").status_code == 403
    assert httpx.post(f"{admin}/quitquitquit").status_code == 403
    assert httpx.get(f"{admin}/ready").status_code == 200
