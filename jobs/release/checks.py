"""One compared number: what the gate and the canary both decide on, and store."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Check:
    """A rule held against a value; `detail` is the sentence a person reads."""

    name: str
    value: float | None
    bound: float | None
    passed: bool
    detail: str
    rule: str = ""
    """What has to hold, of the gate's checks: `value >= bound`, or of an interval `low > bound`."""
    low: float | None = None
    """With `high`: the 95 % interval of the value, where there is one."""
    high: float | None = None
    rows: int | None = None
    """With `positives`: what the value was measured on, where that is more than one number."""
    positives: int | None = None
