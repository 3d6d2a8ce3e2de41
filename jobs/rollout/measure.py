"""What the router counted, as the ledger keeps it and as the verdict takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from jobs.errors import ServiceError
from jobs.rollout.adapters import Routing
from jobs.rollout.counters import Counters, Histogram, between
from jobs.rollout.observed import Observed
from jobs.rollout.slots import Own, Slots

Counts = Mapping[str, Mapping[str, Any]]


WHOLE = 5.0
"""Milliseconds below which the router's clock, which counts whole ones, is too coarse to compare two slots by."""


def count(router: Routing, slots: Slots, project: str, shadow: str | None = None) -> dict[str, Any] | None:
    """Each slot's attempts so far, of the `shadow` slot the mirrored ones.

    None when the router does not answer: that is no measurement, not a zero.
    """
    try:
        seen = dict(router.observe(project))
        if shadow is not None:
            seen[shadow] = router.observe_shadow(project)[shadow]
        routes = {slot: "shadow" if slot == shadow else "predict" for slot in seen}
        own = {slot: slots.own(project, slot, routes[slot]) for slot in seen}
    except ServiceError:
        return None
    return {slot: asdict(_with_own(counters, own[slot])) for slot, counters in seen.items()}


def _with_own(counters: Counters, own: Mapping[str, Own]) -> Counters:
    """The counts with what the slot's processes counted: its only one's, or each one's as a part."""
    if counters.parts:
        return replace(
            counters, parts={**counters.parts, **{f"own {at}": _told(Counters(), one) for at, one in own.items()}}
        )
    return _told(counters, *own.values()) if own else counters


def _told(counters: Counters, own: Own) -> Counters:
    return replace(counters, own=own.times, scores=own.scores, resident_bytes=own.resident_bytes)


def observed(before: Counts | None, after: Counts | None, slot: str) -> Observed:
    """What a slot did between two counts; nothing measured where one of them is missing."""
    if before is None or after is None or slot not in before or slot not in after:
        return Observed(requests=None, errors=None)
    traffic = between(_counters(before[slot]), _counters(after[slot]))
    latency = finer(traffic.latency, traffic.own)
    return Observed(
        requests=traffic.requests, errors=traffic.errors, latency=latency, scores=traffic.scores,
        grown_bytes=traffic.grown_bytes,
    )  # fmt: skip


def finer(latency: Histogram, own: Histogram) -> Histogram:
    """The router's times, those within five milliseconds divided up as the slot's own clock saw them.

    What waited for the slot is in the router's times only, and parts of a millisecond are in the slot's only.

    >>> finer(((1.0, 80.0), (5.0, 20.0), (20.0, 7.0)), ((0.5, 30.0), (2.5, 10.0), (10.0, 3.0)))
    ((0.5, 75.0), (2.5, 25.0), (20.0, 7.0))
    >>> finer(((1.0, 80.0),), ())
    ((1.0, 80.0),)
    """
    within = sum(number for bound, number in latency if bound <= WHOLE)
    shape = [(bound, number) for bound, number in own if bound <= WHOLE]
    total = sum(number for _, number in shape)
    if not total or not within:
        return latency
    divided = tuple((bound, number / total * within) for bound, number in shape)
    return (*divided, *(pair for pair in latency if pair[0] > WHOLE))


def kept(seen: Observed) -> dict[str, Any]:
    """An observation as the ledger keeps it."""
    return {"requests": seen.requests, "errors": seen.errors, "latency": [list(pair) for pair in seen.latency]}


def recalled(document: Mapping[str, Any]) -> Observed:
    """The observation that the ledger kept."""
    return Observed(
        requests=document["requests"], errors=document["errors"], latency=_histogram(document["latency"])
    )  # fmt: skip


def _counters(document: Mapping[str, Any]) -> Counters:
    histograms = {name: _histogram(document.get(name, ())) for name in ("latency", "own", "scores")}
    parts = {name: _counters(part) for name, part in document.get("parts", {}).items()}
    return Counters(**{**document, **histograms, "parts": parts})


def _histogram(pairs: Any) -> tuple[tuple[float, float], ...]:
    """The ledger keeps an infinite bound as its name, which `float` reads."""
    return tuple((float(bound), float(number)) for bound, number in pairs)
