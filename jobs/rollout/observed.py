"""What was seen of a release while it had traffic: the values that its checks are made of."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.rollout.statistics import Histogram


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What a slot did since the step began; None is what could not be measured."""

    requests: float | None
    errors: float | None
    latency: Histogram = ()
    """Milliseconds of each attempt."""
    scores: Histogram = ()
    """How many scores were up to each bound: the same bounds in either slot."""
    grown_bytes: float | None = None
    """How much more memory its process has than when the step began."""
    ready: bool = True
    restarts: int = 0
    unmeasured_looks: int = 1
    """Where something could not be measured: how many looks in a row that was so, this one included."""


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What the candidate's own answers came to when they were computed once more; None is what could not be."""

    vectors: int | None
    identical: int | None
    unexplained: int | None
    """Those that differ for a reason nobody knows."""
    detail: str
