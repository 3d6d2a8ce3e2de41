"""Clients that keep asking one slot or the router until told to stop, and what they were answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx

from tests.clients import asking
from tests.serving.conftest import Stack, payment, until

CLIENTS = 4


class Answered(NamedTuple):
    """One answer: when it was asked for, after how long it came, its status and body."""

    at: float
    seconds: float
    status: int
    body: dict[str, Any]


@dataclass
class Load:
    """Four clients of the slot or of the router, each with one request at a time."""

    stack: Stack
    where: str
    answers: list[Answered] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def more(self, count: int) -> None:
        """Returns after so many more answers."""
        wanted = len(self.answers) + count
        until(lambda: len(self.answers) >= wanted, 60)

    def until_degraded(self, degraded: bool) -> None:
        """Returns once the newest answer is degraded, or is not any more."""
        until(lambda: self.answers and self.answers[-1].body.get("degraded") is degraded, 60)

    def failed(self) -> list[Answered]:
        """What was answered with another status than 200, or not at all."""
        return [one for one in self.answers if one.status != 200]

    def ask(self, number: int) -> None:
        """One client's requests, one after the other until they are over."""
        with self.stack.client(self.where) as client:
            while not self.over.is_set():
                number += CLIENTS
                began = time.monotonic()
                try:
                    answer = client.post("/fraud/predict", json=payment(number))
                    body, status = answer.json(), answer.status_code
                except httpx.HTTPError as error:
                    body, status = {"error": repr(error)}, 0
                self.answers.append(Answered(began, time.monotonic() - began, status, body))


@contextmanager
def load(stack: Stack, where: str = "blue") -> Iterator[Load]:
    """Requests for as long as the block lasts."""
    made = Load(stack, where)
    with asking(made.ask, made.over, CLIENTS):
        yield made
