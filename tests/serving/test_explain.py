"""Explanations over HTTP: they add up, they are of the answer that was given, and they leave no trace."""

from __future__ import annotations

import json
import math
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from bentos.recent import KEPT, Recent
from jobs.release.bundle import Bundle
from tests.serving.conftest import FRAUD, Stack, payment, until
from tests.serving.history import vectors

pytestmark = pytest.mark.services
INPUTS = FRAUD.models[-1].inputs


@pytest.fixture(scope="module", params=["lightgbm", "xgboost"])
def client(request: pytest.FixtureRequest, slot: Stack, bundles: dict[str, Bundle]) -> httpx.Client:
    """The blue slot serves LightGBM; XGBoost is beside it in green."""
    if request.param == "lightgbm":
        return slot.client()
    if "green" not in slot.running:
        slot.assign("green", bundles["xgboost"])
        slot.start("green", bundles["xgboost"].release)
    return slot.client("green")


def explain(client: httpx.Client, body: Any) -> dict[str, Any]:
    answer = client.post("/fraud/explain", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_contributions_add_up_to_the_score(client: httpx.Client, bundles: dict[str, Bundle]) -> None:
    payments = [payment(number, transaction_id=f"sum-{number}") for number in range(60)]
    for found in explain(client, {"rows": payments})["rows"]:
        assert list(found["contributions"]) == list(found["inputs"]) == list(INPUTS)
        total = found["base"] + math.fsum(found["contributions"].values())
        assert total == pytest.approx(found["margin"], abs=1e-6)
        if found["release"] == bundles["xgboost"].release:  # half of the negatives were left out; then calibrated
            total = 1.2 * (total + math.log(0.5)) - 0.3
        assert 1 / (1 + math.exp(-total)) == pytest.approx(found["probability"], abs=1e-6)
        greatest = sorted(found["contributions"].values(), key=abs, reverse=True)
        assert [one["contribution"] for one in found["reasons"]] == [one for one in greatest[:3] if one]
        for one in found["reasons"]:
            assert one["value"] == found["inputs"][one["input"]]
            assert "raises the score" in one["text"] or "lowers the score" in one["text"]


def test_an_explanation_is_of_the_answer_that_was_given(client: httpx.Client) -> None:
    payments = [payment(number, transaction_id=f"given-{number}", customer_id="k11") for number in range(20)]
    answers = [client.post("/fraud/predict", json=one).json() for one in payments]
    together = explain(client, {"rows": payments})["rows"]
    for answer, one, found in zip(answers, payments, together, strict=True):
        assert found["as_served"] is True
        assert {**{name: found[name] for name in answer}, "request_id": ""} == {**answer, "request_id": ""}
        alone = explain(client, one)
        assert {**alone, "request_id": ""} == {**found, "request_id": ""}


def test_another_slot_or_process_explains_the_same(stack: Stack, bundles: dict[str, Bundle]) -> None:
    stack.assign("blue", bundles["lightgbm"])
    stack.start("blue", bundles["lightgbm"].release)
    payments = [
        payment(
            number, transaction_id=f"again-{number}", customer_id="k12", event_time=f"2026-02-01T12:{number:02}:00Z"
        )
        for number in range(30)
    ]
    with stack.client() as client:
        answers = [client.post("/fraud/predict", json=one).json() for one in payments]
    stack.stop("blue", signal.SIGKILL)
    stack.start("blue", bundles["lightgbm"].release)
    with stack.client() as client:
        found = explain(client, {"rows": payments})["rows"]
    assert {one["as_served"] for one in found} == {False}
    assert [list(one["inputs"].values()) for one in found] == vectors(payments, payments).tolist()
    assert [one["probability"] for one in found] == [one["probability"] for one in answers]


def test_explaining_leaves_no_trace(slot: Stack) -> None:
    client = slot.client()
    payments = [payment(number, transaction_id=f"trace-{number}", customer_id="k13") for number in (1, 2)]
    first = explain(client, payments[0])
    assert first["as_served"] is False
    for _ in range(3):
        assert {**explain(client, payments[0]), "request_id": ""} == {**first, "request_id": ""}
    assert list(first["inputs"].values()) == vectors(payments[:1], payments[:1]).tolist()[0]
    assert list(explain(client, payments[1])["inputs"].values()) == vectors(payments[1:])[0].tolist()
    answer = client.post("/fraud/predict", json=payments[1]).json()
    assert answer["probability"] == explain(client, payments[1])["probability"]
    assert list(explain(client, payments[1])["inputs"].values()) == vectors(payments[1:])[0].tolist()
    client.post("/fraud/predict", json=payment(transaction_id="trace-last"))
    until(lambda: "trace-last" in slot.logged("trace-"))
    assert set(slot.logged("trace-")) == {"trace-2", "trace-last"}


@pytest.mark.fault("F60")
@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"", 400, None),
        (b"{", 400, None),
        (b"\xff", 400, None),
        (b"[]", 422, None),
        (b'{"rows": []}', 422, "rows"),
        (json.dumps({"rows": [payment()] * 101}).encode(), 422, "rows"),
        (json.dumps(payment(amount_cents=...)).encode(), 422, "amount_cents"),
        (json.dumps(payment(amount_cents=float("nan"))).encode(), 422, "amount_cents"),
        (json.dumps(payment(amount_cents="1")).encode(), 422, "amount_cents"),
        (json.dumps(payment(is_fraud=True)).encode(), 422, "is_fraud"),
        (json.dumps({"rows": [payment(), payment(event_time="2026-02-01T00:00:00")]}).encode(), 422, "event_time"),
        (b" " * 1_048_577, 413, None),
    ],
)
def test_a_wrong_body_is_refused(slot: Stack, body: bytes, status: int, field: str | None) -> None:
    answer = slot.client().post("/fraud/explain", content=body)
    assert (answer.status_code, answer.json().get("field")) == (status, field)
    assert answer.json()["error"]


def test_explanations_ask_for_a_key_and_are_counted_apart(slot: Stack) -> None:
    client = slot.client()

    def answered(route: str) -> float:
        pattern = rf'tidemill_request_seconds_count{{route="{route}",status="200"}} (\S+)'
        return sum(map(float, re.findall(pattern, client.get("/metrics").text)))

    with httpx.Client(base_url=client.base_url) as stranger:
        assert stranger.post("/fraud/explain", json=payment()).status_code == 401
    assert client.get("/fraud/explain").status_code == 405
    before = answered("predict"), answered("explain")
    explain(client, payment())
    explain(client, payment())
    assert (answered("predict"), answered("explain")) == (before[0], before[1] + 2)


def test_what_was_answered_is_remembered_for_a_while_and_not_for_ever() -> None:
    recent = Recent()
    for number in range(3 * KEPT):
        recent.keep(number, [float(number)], f"answer {number}")
    assert recent.find(0) is recent.find(KEPT - 1) is None
    for number in (2 * KEPT, 3 * KEPT - 1):
        vector, answer = recent.find(number) or ([], "")
        assert (list(vector), answer) == ([float(number)], f"answer {number}")


def test_predictions_go_on_while_much_is_explained(client: httpx.Client) -> None:
    """Explanations of 100 rows wait for each other; beyond a few the next are told to come back."""
    rows = [payment(number, transaction_id=f"busy-{number}", customer_id="busy") for number in range(100)]
    alone = client.post("/fraud/predict", json={"rows": rows}).json()["rows"]
    with ThreadPoolExecutor(40) as pool:
        asked = [pool.submit(client.post, "/fraud/explain", json={"rows": rows}) for _ in range(40)]
        while not all(one.done() for one in asked):
            again = client.post("/fraud/predict", json={"rows": rows[:5]}).json()["rows"]
            assert [one["probability"] for one in again] == [one["probability"] for one in alone[:5]]
        answers = [one.result() for one in asked]
    assert {answer.status_code for answer in answers} <= {200, 429}
    assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status_code == 429)
    explained = [answer.json()["rows"] for answer in answers if answer.status_code == 200]
    assert len(explained) >= 16
    for found in explained:
        assert [one["probability"] for one in found] == [one["probability"] for one in alone]
