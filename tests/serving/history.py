"""Payments of the weeks before the tests, and the windows over payments counted one by one, as the words say."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np

from jobs.projects import find, hook
from jobs.projects.fraud.features import LARGE_CENTS
from jobs.spec import LiveView, Window

FRAUD = find("fraud")
AS_OF = datetime(2026, 2, 1, tzinfo=UTC)
DAYS = 40
FUNCTIONS: dict[str, Any] = {"count": len, "sum": sum, "max": max, "last": lambda column: column[-1]}
_MICROSECOND = timedelta(microseconds=1)
_DAY = 86_400_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Event:
    """A payment; of one that was only scored, the label is not known and counts as 0."""

    id: str
    time: int
    customer_id: str
    terminal_id: str
    amount_cents: int
    label: int = 0
    known: bool = False
    """Whether the payment has come from the lake, with what is only known there."""

    @property
    def genuine(self) -> int:
        return int(self.known and not self.label)

    @property
    def genuine_cents(self) -> int:
        return self.amount_cents * self.genuine

    @property
    def genuine_day(self) -> int:
        return self.time // _DAY * self.genuine

    @property
    def small_fraud(self) -> int:
        return int(self.label and self.amount_cents <= LARGE_CENTS)


def us(time: str | datetime) -> int:
    """Microseconds since 1970 UTC."""
    moment = datetime.fromisoformat(time) if isinstance(time, str) else time
    return (moment - _EPOCH) // _MICROSECOND


def event(payment: dict[str, Any]) -> Event:
    """The event that a request is."""
    row = {name: payment[name] for name in ("customer_id", "terminal_id", "amount_cents")}
    return Event(id=payment["transaction_id"], time=us(payment["event_time"]), **row)


@cache
def history() -> tuple[Event, ...]:
    """Payments of customers c0 to c99 and k0 to k99 at terminals t0 to t99 before AS_OF; many share a second."""
    chance = random.Random(5)
    found = []
    for number in range(4_000):
        time = us(AS_OF) - chance.randrange(DAYS * 86_400) * 1_000_000
        customer = f"{chance.choice('ck')}{chance.randrange(100)}"
        found.append(
            Event(
                id=f"past-{number}",
                time=time,
                customer_id=customer,
                terminal_id=f"t{chance.randrange(100)}",
                amount_cents=chance.randrange(30_000),
                label=int(chance.random() < 0.1),
                known=True,
            )
        )
    return tuple(found)


def in_window(window: Window, asked: Event, one: Event) -> bool:
    """Whether an event of the same key is in the window of the event asked about."""
    length, delay = window.length // _MICROSECOND, window.delay // _MICROSECOND
    if delay:
        return asked.time - delay - length < one.time <= asked.time - delay
    return asked.time - length < one.time and (one.time, one.id) <= (asked.time, asked.id)


def values(view: LiveView, asked: Event, events: Iterable[Event]) -> dict[str, int]:
    """The windows of a view as of an event, which is itself among them."""
    of_key = [one for one in {*events, asked} if all(getattr(one, key) == getattr(asked, key) for key in view.entity)]
    found = {}
    for window in view.windows:
        inside = sorted((one for one in of_key if in_window(window, asked, one)), key=lambda one: (one.time, one.id))
        column = [getattr(one, window.column) if window.column else 1 for one in inside]
        found[window.name] = FUNCTIONS[window.function](column) if column else 0
    return found


def vectors(payments: Sequence[dict[str, Any]], sent: Iterable[dict[str, Any]] = ()) -> np.ndarray[Any, Any]:
    """The model inputs of payments, after the history and those sent before them."""
    events = [*history(), *map(event, sent)]
    asked = [event(payment) for payment in payments]
    payload = {
        name: np.array([getattr(one, name) for one in asked]) for name in ("customer_id", "terminal_id", "amount_cents")
    }
    payload["event_time"] = np.array([one.time for one in asked])
    features = {}
    for view in FRAUD.live_views:
        rows = [values(view, one, events) for one in asked]
        features[view.name] = {name: np.array([row[name] for row in rows]) for name in view.features}
    made: np.ndarray[Any, Any] = hook(FRAUD, "features").request(payload, features)
    return made
