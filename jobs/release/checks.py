"""One compared number: what every decision rests on, as it is stored and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """What a check came to."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    UNDECIDED = "UNDECIDED"
    """There is not enough evidence for either yet."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """A rule held against a value; `detail` is the sentence a person reads."""

    name: str
    value: float | None = None
    bound: float | None = None
    state: State
    detail: str
    rule: str = ""
    """What has to hold: `value >= bound`, or of an interval `low > bound`."""
    low: float | None = None
    """With `high`: the interval of the value, where there is one."""
    high: float | None = None
    samples: Mapping[str, int] = field(default_factory=dict)
    """How many of what the value was measured on: rows and positives, or the requests of either slot."""
    optional: bool = False
    """Whether the decision does without it while it is undecided; it is named all the same."""

    @property
    def passed(self) -> bool:
        """Whether it is known that the rule holds."""
        return self.state is State.PASSED

    def document(self) -> dict[str, Any]:
        """The check as ledger, report and command line show it."""
        return {
            "name": self.name,
            "state": self.state.value,
            "passed": self.passed,
            "rule": self.rule,
            "value": self.value,
            "bound": self.bound,
            "low": self.low,
            "high": self.high,
            "samples": dict(self.samples),
            "optional": self.optional,
            "detail": self.detail,
        }


def state_of(good: bool) -> State:
    """PASSED or FAILED: of a rule that needs no more evidence."""
    return State.PASSED if good else State.FAILED
