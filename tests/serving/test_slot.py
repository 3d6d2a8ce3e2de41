"""One slot, asked over HTTP as a client would."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs.release.bundle import Bundle
from jobs.release.scorer import Scorer
from tests.serving.conftest import AS_OF, Stack, payment, until
from tests.serving.history import vectors

pytestmark = pytest.mark.services
ANSWER = {"probability", "decision", "release", "request_id", "slot", "degraded", "degraded_by", "unknown"}


@pytest.fixture(scope="module")
def client(slot: Stack) -> httpx.Client:
    return slot.client()


def scores(bundle: Bundle, made: Any) -> list[float]:
    """What the release's model says of vectors, without the server."""
    found: list[float] = Scorer.load(bundle.folder, bundle.manifest).score(made).tolist()
    return found


def test_one_payment_is_answered(client: httpx.Client, bundles: dict[str, Bundle]) -> None:
    asked = payment(3, customer_id="k3")
    answer = client.post("/fraud/predict", json=asked, headers={"x-request-id": "mine-1"})
    found = answer.json()
    assert answer.status_code == 200
    assert set(found) == ANSWER
    assert found["request_id"] == answer.headers["x-request-id"] == "mine-1"
    assert (found["release"], found["slot"]) == (bundles["lightgbm"].release, "blue")
    assert (found["degraded"], found["unknown"]) == (False, ["customer_profile"])
    assert found["probability"] == scores(bundles["lightgbm"], vectors([asked]))[0]


def test_many_payments_are_answered_in_order_as_each_alone(client: httpx.Client) -> None:
    rows = [payment(number) for number in range(1_000)]
    together = client.post("/fraud/predict", json={"rows": rows}).json()["rows"]
    assert len({one["request_id"] for one in together}) == 1_000
    for number in (0, 17, 999):
        alone = client.post("/fraud/predict", json=rows[number]).json()
        assert {**alone, "request_id": ""} == {**together[number], "request_id": ""}


def test_the_rule_comes_before_the_model(client: httpx.Client) -> None:
    answer = client.post("/fraud/predict", json=payment(amount_cents=22_001)).json()
    assert answer["decision"] == "decline"


def test_a_stranger_is_served_with_defaults_and_named(client: httpx.Client) -> None:
    def unknown(**changes: Any) -> tuple[list[str], bool]:
        answer = client.post("/fraud/predict", json=payment(**changes)).json()
        return answer["unknown"], answer["degraded"]

    assert unknown() == ([], False)
    assert unknown(customer_id="nobody") == (["customer_profile"], False), "the payment itself is in its windows"
    assert unknown(terminal_id="nowhere") == (["terminal"], False), "its windows end a week before the payment"
    later = {"event_time": "2026-02-04T00:00:00Z", "transaction_id": "later"}
    assert unknown(**later) == (["customer_profile"], False), "values past their time to live are not served"


@pytest.mark.fault("F60")
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"amount_cents": ...}, "amount_cents"),
        ({"amount": 1}, "amount"),
        ({"is_fraud": True}, "is_fraud"),
        ({"amount_cents": "12"}, "amount_cents"),
        ({"amount_cents": 12.5}, "amount_cents"),
        ({"amount_cents": True}, "amount_cents"),
        ({"amount_cents": None}, "amount_cents"),
        ({"amount_cents": -1}, "amount_cents"),
        ({"amount_cents": 100_000_001}, "amount_cents"),
        ({"amount_cents": 10**400}, "amount_cents"),
        ({"amount_cents": float("nan")}, "amount_cents"),
        ({"amount_cents": float("-inf")}, "amount_cents"),
        ({"event_time": "2026-02-01T00:00:00"}, "event_time"),
        ({"event_time": "yesterday"}, "event_time"),
        ({"event_time": 1_769_904_000}, "event_time"),
        ({"event_time": "1900-01-01T00:00:00Z"}, "event_time"),
        ({"event_time": "9999-12-31T23:59:59-12:00"}, "event_time"),
        ({"customer_id": ""}, "customer_id"),
        ({"customer_id": "x" * 201}, "customer_id"),
        ({"customer_id": ["c1"]}, "customer_id"),
    ],
)
def test_a_wrong_field_is_named(client: httpx.Client, changes: dict[str, Any], field: str) -> None:
    row = payment(**changes)
    alone = client.post("/fraud/predict", content=json.dumps(row))
    assert (alone.status_code, alone.json()["field"]) == (422, field)
    among = client.post("/fraud/predict", content=json.dumps({"rows": [payment(), payment(), row]}))
    assert (among.status_code, among.json()["field"], among.json()["row"]) == (422, field, 2)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b'{"amount_cents": 1e999}', 422),
        (b"[" * 100_000, 422),
        (b'{"rows":' * 100_000, 422),
        (b'{"rows": []}', 422),
        (json.dumps({"rows": [payment()] * 1_001}).encode(), 422),
        (b" " * 1_048_577, 413),
    ],
)
def test_a_wrong_body_is_refused(client: httpx.Client, body: bytes, status: int) -> None:
    answer = client.post("/fraud/predict", content=body)
    assert answer.status_code == status
    assert answer.json()["error"]
    assert client.post("/fraud/predict", json=payment()).status_code == 200


def test_a_body_that_hides_its_size_is_cut_off(client: httpx.Client) -> None:
    def endless() -> Any:
        for _ in range(64):
            yield b" " * 65_536

    try:
        status = client.post("/fraud/predict", content=endless()).status_code
    except httpx.HTTPError:  # the server hung up while we were still sending
        status = 413
    assert status == 413
    assert client.get("/readyz").status_code == 200


def test_a_body_that_does_not_arrive_is_given_up(client: httpx.Client) -> None:
    head = f"POST /fraud/predict HTTP/1.1\r\nhost: x\r\nauthorization: {client.headers['authorization']}\r\n"
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=30) as slow:
        slow.sendall(f"{head}content-length: 1000\r\n\r\n{{".encode())
        assert client.post("/fraud/predict", json=payment()).status_code == 200
        assert slow.recv(1_000).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic a2V5"}])
def test_without_a_key_only_health_answers(client: httpx.Client, header: dict[str, str]) -> None:
    with httpx.Client(base_url=client.base_url, headers=header) as stranger:
        assert stranger.post("/fraud/predict", json=payment()).status_code == 401
        assert stranger.get("/metrics").status_code == 401
        assert stranger.get("/livez").status_code == stranger.get("/readyz").status_code == 200
        assert stranger.get("/docs").status_code == stranger.get("/docs.json").status_code == 401
        for path in ("/", "/schema.json", "/openapi.json", "/healthz", "/static_content/index.html", "/fraud/other"):
            assert stranger.get(path).status_code == 404, path


def test_a_key_is_added_and_withdrawn_without_a_restart(slot: Stack, client: httpx.Client) -> None:
    path = slot.settings.home / "serving" / "keys.json"
    with httpx.Client(base_url=client.base_url, headers={"Authorization": "Bearer second"}) as other:
        path.write_text(json.dumps({"second": sha256(b"second").hexdigest()}))
        until(lambda: other.post("/fraud/predict", json=payment()).status_code == 200)
        path.unlink()
        until(lambda: other.post("/fraud/predict", json=payment()).status_code == 401)
    assert client.post("/fraud/predict", json=payment()).status_code == 200


def test_every_answer_is_logged_once_with_the_very_vector(
    client: httpx.Client, slot: Stack, bundles: dict[str, Bundle]
) -> None:
    rows = [
        payment(number, transaction_id=f"logged-{number}", customer_id=f"l{number if number < 150 else number % 7}")
        for number in range(200)
    ]
    with ThreadPoolExecutor(8) as pool:
        singles = list(pool.map(lambda row: client.post("/fraud/predict", json=row).json(), rows[:150]))
    answers = singles + client.post("/fraud/predict", json={"rows": rows[150:]}).json()["rows"]
    until(lambda: len(slot.logged("logged-")) == 200)
    records = {record["request_id"]: record for record in slot.logged("logged-").values()}
    made = np.concatenate([vectors(rows[:150]), vectors(rows[150:], rows)])
    expected = scores(bundles["lightgbm"], made)
    for index, answer in enumerate(answers):
        record = records[answer["request_id"]]
        assert np.array(record["vector"]).tobytes() == made[index].tobytes()
        assert record["score"] == answer["probability"] == pytest.approx(expected[index], abs=1e-12)
        assert record["payload"]["amount_cents"] == rows[index]["amount_cents"]
        assert record["entities"] == {key: rows[index][key] for key in ("customer_id", "terminal_id")}
    folder = slot.lake.landing("fraud", "predictions", AS_OF.date())
    for path in folder.glob("*.jsonl"):
        assert path.name.split("-")[0] == sha256(path.read_bytes()).hexdigest()[:16]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from([*payment(), "rows", "other"])


@pytest.mark.fault("F60")
@hypothesis_settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=st.binary(max_size=60) | st.builds(payment, **{}) | JSON | st.dictionaries(FIELDS, JSON, max_size=6), many=st.booleans(), field=FIELDS, value=JSON)  # fmt: skip
def test_whatever_is_sent_the_answer_is_json_and_no_failure(
    client: httpx.Client, body: Any, many: bool, field: str, value: Any
) -> None:
    if isinstance(body, dict) and "transaction_id" in body:
        body = {**body, field: value}
    content = body if isinstance(body, bytes) else json.dumps({"rows": [payment(), body]} if many else body)
    answer = client.post("/fraud/predict", content=content)
    assert answer.status_code in (200, 400, 422), answer.text
    json.loads(answer.text, parse_constant=lambda name: pytest.fail(f"{name} in {answer.text}"))
