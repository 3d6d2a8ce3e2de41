"""Clients that keep asking one slot or the router until told to stop, and what they were answered."""

from __future__ import annotations

import threading
import time
from typing import Any, NamedTuple

import httpx

from tests.serving.conftest import Stack, payment, until


class Answered(NamedTuple):
    """One answer: when it was asked for, after how long it came, its status and body."""

    at: float
    seconds: float
    status: int
    body: dict[str, Any]


class Load:
    """As many clients as asked for, each with one request at a time; a context manager."""

    def __init__(self, stack: Stack, where: str = "blue", clients: int = 4) -> None:
        self._stack, self._where, self._stop = stack, where, threading.Event()
        self.answers: list[Answered] = []
        self._threads = [threading.Thread(target=self._ask, args=(number, clients)) for number in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int) -> None:
        """Returns after so many more answers."""
        wanted = len(self.answers) + count
        until(lambda: len(self.answers) >= wanted, 60)

    def until_degraded(self, degraded: bool) -> None:
        """Returns once the newest answer is degraded, or is not any more."""
        until(lambda: self.answers and self.answers[-1].body.get("degraded") is degraded, 60)

    def _ask(self, worker: int, clients: int) -> None:
        number = worker
        with self._stack.client(self._where) as client:
            while not self._stop.is_set():
                number += clients
                began = time.monotonic()
                try:
                    answer = client.post("/fraud/predict", json=payment(number))
                    body, status = answer.json(), answer.status_code
                except httpx.HTTPError as error:
                    body, status = {"error": repr(error)}, 0
                self.answers.append(Answered(began, time.monotonic() - began, status, body))
