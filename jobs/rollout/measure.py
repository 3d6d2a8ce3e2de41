"""What the router counted, as the ledger keeps it and as the verdict takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from jobs.errors import ServiceError
from jobs.rollout.observed import Observed
from jobs.rollout.router import Counters, Router, between

Counts = Mapping[str, Mapping[str, Any]]


def count(router: Router, project: str) -> dict[str, Any] | None:
    """Each slot's attempts so far, or None when the router does not answer: that is no measurement, not a zero."""
    try:
        return {slot: asdict(counters) for slot, counters in router.observe(project).items()}
    except ServiceError:
        return None


def observed(before: Counts | None, after: Counts | None, slot: str) -> Observed:
    """What a slot did between two counts; nothing measured where one of them is missing."""
    if before is None or after is None or slot not in before or slot not in after:
        return Observed(requests=None, errors=None)
    traffic = between(_counters(before[slot]), _counters(after[slot]))
    return Observed(requests=traffic.requests, errors=traffic.errors, latency=traffic.latency)


def kept(seen: Observed) -> dict[str, Any]:
    """An observation as the ledger keeps it."""
    return {"requests": seen.requests, "errors": seen.errors, "latency": [list(pair) for pair in seen.latency]}


def recalled(document: Mapping[str, Any]) -> Observed:
    """The observation that the ledger kept."""
    return Observed(
        requests=document["requests"], errors=document["errors"], latency=_histogram(document["latency"])
    )  # fmt: skip


def _counters(document: Mapping[str, Any]) -> Counters:
    return Counters(**{**document, "latency": _histogram(document["latency"])})


def _histogram(pairs: Any) -> tuple[tuple[float, float], ...]:
    """The ledger keeps an infinite bound as its name, which `float` reads."""
    return tuple((float(bound), float(number)) for bound, number in pairs)
