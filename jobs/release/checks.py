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
