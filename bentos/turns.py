"""Requests that arrive in the same turn of the event loop are answered together.

Nobody waits for company, but under load it is there already. At most MAXIMUM_ROWS go at once; between two such
parts the loop sees to everybody else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, Protocol

from bentos import metrics
from bentos.asking import Asking
from bentos.decoding import MAXIMUM_ROWS, Refused

Lists = Sequence[Hashable | None]
"""Of each row of a request the list that it is on; None is one whose order is settled. Empty where there are no lists."""


class Predict(Protocol):
    """Makes the predictions of some rows, each with its id, and the lists of each request."""

    def __call__(self, rows: list[Any], ids: list[str], lists: list[Lists], *, shadow: bool) -> list[Any]: ...


class _Asked(NamedTuple):
    asking: Asking
    rows: Sequence[Any]
    ids: Sequence[str]
    lists: Lists
    answers: asyncio.Future[list[Any]]


class Turns:
    """Takes requests and gives each its own part of what `predict` made of all of them."""

    def __init__(self, predict: Predict) -> None:
        self._predict = predict
        self._asked: list[_Asked] = []

    async def predictions(
        self, asking: Asking, rows: Sequence[Any], ids: Sequence[str], lists: Lists = ()
    ) -> list[Any]:  # fmt: skip
        """The predictions of the rows, of a ranking with the list that each is on.

        Raises Refused with 503 when their turn comes after the request's deadline.
        """
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._turn)
        asked = _Asked(asking, rows, ids, lists, loop.create_future())
        self._asked.append(asked)
        answers = await asked.answers
        if time.perf_counter() > asking.until:
            metrics.DEADLINE.labels("late").inc()
        return answers

    def _turn(self) -> None:
        taken, size = 0, 0
        for one in self._asked:
            size += len(one.rows)
            if taken and size > MAXIMUM_ROWS:
                break
            taken += 1
        due, self._asked = self._asked[:taken], self._asked[taken:]
        if self._asked:
            asyncio.get_running_loop().call_soon(self._turn)
        now = time.perf_counter()
        for shadow in (False, True):
            alike = [one for one in due if one.asking.shadow is shadow and not one.answers.cancelled()]
            self._together([one for one in alike if _in_time(one, now)], shadow=shadow)

    def _together(self, asked: list[_Asked], *, shadow: bool) -> None:
        rows = [row for one in asked for row in one.rows]
        if not rows:
            return
        try:
            names = [name for one in asked for name in one.ids]
            answers = self._predict(rows, names, [one.lists for one in asked], shadow=shadow)
        except Exception as error:
            if len(asked) == 1:
                asked[0].answers.set_exception(error)
                return
            for one in asked:  # no request may fail for what another one asked
                self._together([one], shadow=shadow)
            return
        first = 0
        for one in asked:
            one.answers.set_result(answers[first : first + len(one.rows)])
            first += len(one.rows)


def _in_time(asked: _Asked, now: float) -> bool:
    if now <= asked.asking.until:
        return True
    metrics.DEADLINE.labels("refused").inc()
    asked.answers.set_exception(Refused(503, "the request's turn came after its deadline", retry_after=1))
    return False
