"""A slot that is asked in the shadow of another: what it answers, and what it leaves behind."""

from __future__ import annotations

import json

import httpx
import pytest

from jobs.release.bundle import Bundle
from jobs.release.probe import TOLERANCE
from tests.serving.conftest import Stack, payment, until
from tests.serving.history import AS_OF

pytestmark = pytest.mark.services
MIRRORED = {"x-tidemill-shadow": "1"}
DAY = AS_OF.date()


def counted(client: httpx.Client, event: dict[str, object]) -> float:
    """How many payments of the customer in a day the slot knows, this one included."""
    return float(client.post("/fraud/explain", json=event).json()["inputs"]["customer_count_1d"])


def test_a_slot_says_how_far_it_is_from_the_stored_scores_and_its_warm_up_leaves_no_trace(slot: Stack) -> None:
    state = slot.slots.state("fraud", "blue")
    assert state["parity"]["rows"] == 100
    assert state["parity"]["furthest"] <= TOLERANCE
    with slot.client() as client:
        metrics = client.get("/metrics").text
    assert "\ntidemill_predictions_total{" not in metrics, "nothing was predicted yet"
    assert slot.logged("warm-up") == {}


def test_a_mirrored_request_gets_the_same_answer_and_counts_as_no_event(
    slot: Stack, bundles: dict[str, Bundle]
) -> None:
    known = {"customer_id": "shadowed", "terminal_id": "t-shadowed"}
    first = payment(1, transaction_id="shadow-1", event_time=f"{DAY}T09:00:00Z", **known)
    second = payment(2, transaction_id="shadow-2", event_time=f"{DAY}T09:10:00Z", **known)
    with slot.client() as client:
        mirrored = client.post("/fraud/predict", json=first, headers={**MIRRORED, "x-request-id": "r-1"}).json()
        assert counted(client, second) == 1, "the mirrored payment is nobody's event"
        answered = client.post("/fraud/predict", json=first, headers={"x-request-id": "r-1"}).json()
        assert mirrored == answered
        assert counted(client, second) == 2
        metrics = client.get("/metrics").text
    assert 'tidemill_request_seconds_count{route="shadow",status="200"} 1.0' in metrics
    assert "tidemill_shadow_predictions_total 1.0" in metrics
    folder = slot.lake.shadow("fraud", DAY)
    until(lambda: list(folder.glob("*.jsonl")) and slot.logged("shadow-1"))
    records = [json.loads(line) for path in folder.glob("*.jsonl") for line in path.read_text().splitlines()]
    assert [(one["request_id"], one["score"]) for one in records] == [("r-1", answered["probability"])]
    assert slot.logged("shadow-1")["shadow-1"]["request_id"] == "r-1"
    assert len(slot.logged("shadow-")) == 1, "the log of predictions has what was answered, and nothing else"
    assert records[0]["release"] == bundles["lightgbm"].release
