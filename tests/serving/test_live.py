"""Live features through real slots: the present payment counts, once, in both slots, and outlives a process."""

from __future__ import annotations

import re
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from jobs.release.bundle import Bundle
from jobs.spec import Window
from tests.serving.conftest import FRAUD, Stack, payment, until
from tests.serving.history import event, history, us, values, vectors

pytestmark = pytest.mark.services
CUSTOMER, TERMINAL = FRAUD.live_views
OUTER = {
    "customer": [(timedelta(0), timedelta(days=30)), (timedelta(days=7), timedelta(days=23))],
    "terminal": [(timedelta(days=7), timedelta(days=30))],
}
"""The delays of each view's windows, and the longest window of each."""
COUNT = FRAUD.models[-1].inputs.index("customer_count_1d")


def burst(customer: str, count: int, first: int = 0) -> list[dict[str, Any]]:
    """Payments of one customer, a minute apart, some in the same microsecond as the one before."""
    return [
        payment(
            number, transaction_id=f"{customer}-{number:03}", customer_id=customer,
            event_time=f"2026-02-01T10:{number - number % 3:02}:00.000001Z",
        )
        for number in range(first, first + count)
    ]  # fmt: skip


def ask(client: httpx.Client, *payments: dict[str, Any]) -> list[dict[str, Any]]:
    answers = [client.post("/fraud/predict", json=one) for one in payments]
    assert {answer.status_code for answer in answers} == {200}
    return [answer.json() for answer in answers]


def inputs(client: httpx.Client, *payments: dict[str, Any]) -> list[list[float]]:
    """The vectors that payments were scored by, as the slot explains them."""
    rows = client.post("/fraud/explain", json={"rows": list(payments)}).json()["rows"]
    return [list(row["inputs"].values()) for row in rows]


def unsaved(client: httpx.Client) -> float:
    """How many events wait in the slot's memory to be stored."""
    found = re.search(r"^tidemill_events_unsaved (\S+)$", client.get("/metrics").text, re.MULTILINE)
    assert found
    return float(found.group(1))


@pytest.fixture(scope="module")
def green(slot: Stack, bundles: dict[str, Bundle]) -> httpx.Client:
    """The other slot, which serves the same release from the same store."""
    slot.assign("green", bundles["lightgbm"])
    slot.start("green", bundles["lightgbm"].release)
    return slot.client("green")


def test_every_payment_of_a_burst_counts(slot: Stack) -> None:
    client, payments = slot.client(), burst("k1", 9)
    ask(client, *payments)
    made = inputs(client, *payments)
    assert [row[COUNT] for row in made] == [made[0][COUNT] + number for number in range(9)]
    assert made == vectors(payments, payments).tolist()


def test_a_request_of_many_rows_counts_each_in_its_order(slot: Stack) -> None:
    client, payments = slot.client(), burst("k2", 9)
    sent = [payments[index] for index in (4, 0, 8, 2, 2, 6, 1, 3, 7, 5)]
    answers = client.post("/fraud/predict", json={"rows": sent}).json()["rows"]
    alone = ask(client, *sent)
    assert [one["probability"] for one in answers] == [one["probability"] for one in alone]
    assert inputs(client, *sent) == vectors(sent, payments).tolist()


def test_two_slots_count_what_either_answered(slot: Stack, green: httpx.Client) -> None:
    blue, payments = slot.client(), burst("k3", 6)
    for number, one in enumerate(payments):
        ask(green if number % 2 else blue, one)
    for number, one in enumerate(payments):
        client = green if number % 2 else blue
        assert inputs(client, one) == vectors([one], payments).tolist()


def test_a_retried_or_mirrored_payment_counts_once(slot: Stack, green: httpx.Client) -> None:
    blue, payments = slot.client(), burst("k4", 2)
    first = [ask(client, payments[0])[0]["probability"] for client in (blue, green, blue, green)]
    assert len(set(first)) == 1
    together = green.post("/fraud/predict", json={"rows": [payments[0]] * 3}).json()["rows"]
    assert {one["probability"] for one in together} == set(first)
    ask(green, payments[1])
    assert inputs(green, payments[1]) == vectors(payments[1:], payments).tolist()


def test_a_late_payment_counts_for_those_after_it_only(slot: Stack) -> None:
    client, payments = slot.client(), burst("k5", 7)
    late = payments.pop(3)
    ask(client, *payments[:4])
    ask(client, late, *payments[4:])
    assert inputs(client, late) == vectors([late], [*payments, late]).tolist()
    assert inputs(client, *payments[:4]) == vectors(payments[:4], payments).tolist()
    assert inputs(client, *payments[4:]) == vectors(payments[4:], [*payments, late]).tolist()


def test_a_payment_of_the_future_is_answered_and_not_kept(slot: Stack) -> None:
    client, now = slot.client(), datetime.now(UTC)

    def at(hours: float, name: str) -> dict[str, Any]:
        time = (now + timedelta(hours=hours)).isoformat()
        return payment(transaction_id=name, customer_id="early", terminal_id="early", event_time=time)

    ask(client, at(3, "future"), at(4, "after"))
    assert [row[COUNT] for row in inputs(client, at(3, "future"), at(4, "after"))] == [1, 1]
    ask(client, at(0.5, "soon"), at(0.6, "next"))
    assert [row[COUNT] for row in inputs(client, at(0.5, "soon"), at(0.6, "next"))] == [1, 2]


def test_what_was_counted_outlives_the_process(stack: Stack, bundles: dict[str, Bundle]) -> None:
    stack.assign("blue", bundles["xgboost"])
    payments = burst("k6", 9)
    for first, how in ((0, signal.SIGTERM), (3, signal.SIGKILL), (6, signal.SIGTERM)):
        stack.start("blue", bundles["xgboost"].release)
        with stack.client() as client:
            ask(client, *payments[first : first + 3])
            assert inputs(client, payments[first + 2]) == vectors([payments[first + 2]], payments).tolist()
        stack.stop("blue", how)


def test_payments_answered_while_the_store_is_away_are_saved_when_it_is_back(
    stack: Stack, bundles: dict[str, Bundle]
) -> None:
    stack.assign("blue", bundles["lightgbm"])
    stack.start("blue", bundles["lightgbm"].release)
    client, payments = stack.client(), burst("k7", 12)
    folder = Path(stack.settings.online_store_url.removeprefix("sqlite:///"))
    ask(client, *payments[:2])
    away = folder.rename(folder.with_name("away"))
    answers = ask(client, *payments[2:6])
    assert [(one["degraded"], one["degraded_by"]) for one in answers] == [(True, ["default_features"])] * 4
    assert {"customer_profile"} == {view for one in answers for view in one["unknown"] if view != "terminal"}
    assert unsaved(client) == 4 * len(FRAUD.live_views)
    away.rename(folder)
    until(lambda: not ask(client, payments[6])[0]["degraded"])
    assert unsaved(client) == 0
    ask(client, *payments[7:9])
    assert inputs(client, *payments[7:9]) == vectors(payments[7:9], payments).tolist()
    explained = client.post("/fraud/explain", json=payments[2]).json()
    assert (explained["degraded"], explained["as_served"]) == (True, True), "the answer that was given is explained"
    until(lambda: "k7-008" in stack.logged("k7-"))
    records = stack.logged("k7-")
    assert [records[f"k7-{number:03}"]["provenance"] for number in range(2, 6)] == [None] * 4
    stack.stop("blue", signal.SIGKILL)
    stack.start("blue", bundles["lightgbm"].release)
    ask(client, *payments[9:])
    assert inputs(client, *payments[9:]) == vectors(payments[9:], payments).tolist()


def test_a_slot_that_ends_stores_what_it_could_not_store_before(stack: Stack, bundles: dict[str, Bundle]) -> None:
    stack.assign("blue", bundles["lightgbm"])
    stack.start("blue", bundles["lightgbm"].release)
    payments = burst("k9", 6)
    folder = Path(stack.settings.online_store_url.removeprefix("sqlite:///"))
    away = folder.rename(folder.with_name("away"))
    assert all(one["degraded"] for one in ask(stack.client(), *payments[:5]))
    away.rename(folder)
    stack.stop("blue")
    stack.start("blue", bundles["lightgbm"].release)
    with stack.client() as client:
        ask(client, payments[5])
        assert inputs(client, payments[5]) == vectors(payments[5:], payments).tolist()


def test_the_log_says_what_the_features_were_read_from(slot: Stack) -> None:
    client, payments = slot.client(), burst("c8", 4)
    stranger = payment(transaction_id="stranger", customer_id="nobody", terminal_id="nowhere")
    ask(client, *payments, stranger)
    until(lambda: len(slot.logged("c8-")) == 4 and slot.logged("stranger"))
    records = slot.logged("c8-")
    for one in payments:
        provenance, record = records[one["transaction_id"]]["provenance"], records[one["transaction_id"]]
        asked, events = event(one), [*history(), *map(event, payments)]
        assert record["vector"] == vectors([one], payments)[0].tolist()
        assert provenance.keys() == {view.name for view in FRAUD.every_view}
        assert all(provenance[view.name]["schema"] == view.schema for view in FRAUD.every_view)
        assert provenance["customer_profile"]["available_at"] == us("2026-02-01T00:00:00Z")
        for view in (CUSTOMER, TERMINAL):
            longest = [
                Window(name="all", function="count", length=length, delay=delay) for delay, length in OUTER[view.name]
            ]
            counted = [values(replace(view, windows=(window,)), asked, events)["all"] for window in longest]
            assert provenance[view.name]["events"] == sum(counted)
    empty = slot.logged("stranger")["stranger"]["provenance"]
    assert empty["customer_profile"]["available_at"] is None
    assert (empty["terminal"]["events"], empty["terminal"]["checksum"]) == (0, 0)
    assert empty["customer"]["events"] == 1
