"""Whether to ask a dependency that failed: a circuit breaker (Nygard, Release It!, 2018, chapter 5), with no clock."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Closed lets every call pass, open none, half-open one that decides which of the two it becomes."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """Opens after `failures` bad calls in a row, for `rest` seconds; each trial that fails doubles them up to `longest`.

    Times are seconds of any clock that does not go back. A trial that never ends counts as failed after `longest`.
    """

    def __init__(self, *, failures: int, rest: float, longest: float) -> None:
        self._failures, self._first, self._longest = failures, rest, longest
        self.state = State.CLOSED
        self._bad, self._rest, self._until = 0, rest, 0.0

    def allow(self, now: float) -> bool:
        """Whether to make a call now; whoever is told so reports how it went."""
        if self.state is State.CLOSED:
            return True
        if now < self._until:
            return False
        self.state, self._until = State.HALF_OPEN, now + self._longest
        return True

    def succeeded(self) -> None:
        """A call that was allowed went well."""
        if self.state is not State.OPEN:
            self.state, self._bad, self._rest = State.CLOSED, 0, self._first

    def failed(self, now: float) -> None:
        """A call that was allowed failed, or took too long."""
        self._bad += 1
        if self.state is State.HALF_OPEN:
            self._rest = min(2 * self._rest, self._longest)
        elif self.state is State.OPEN or self._bad < self._failures:
            return
        self.state, self._until = State.OPEN, now + self._rest
