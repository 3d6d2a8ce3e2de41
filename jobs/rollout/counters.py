"""What became of a slot's requests, by whoever counted them, and the difference of two counts; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from jobs.rollout.statistics import quantile

Histogram = tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Counters:
    """What a slot's attempts came to since the router started.

    A retried request is an attempt at each slot, so a candidate whose failures the stable slot makes good
    still shows them here.
    """

    attempts: int = 0
    errors: int = 0
    """Answers of 500 and above, and attempts that ended without an answer."""
    timeouts: int = 0
    connect_failures: int = 0
    latency: Histogram = ()
    """Upper bound in milliseconds and count: of the requests routed to this slot, their retries included."""
    own: Histogram = ()
    """The same by the slot's own clock, which knows parts of a millisecond; the router's knows whole ones."""
    scores: Histogram = ()
    """Upper bound and count of the scores it answered, by its own count."""
    resident_bytes: float | None = None
    """The memory of its process."""
    healthy: bool = False
    """Whether the router sends it requests: its health checks pass and it was not ejected."""
    parts: Mapping[str, Counters] = field(default_factory=dict)
    """Where several count, what each did, by its name: they start and stop one by one, and each counts from zero."""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What happened between two observations of a slot."""

    requests: int
    errors: int
    latency: Histogram
    own: Histogram = ()
    scores: Histogram = ()
    grown_bytes: float | None = None
    """How much more memory its process has than before."""

    @property
    def error_rate(self) -> float | None:
        """Errors per request; None without requests."""
        return self.errors / self.requests if self.requests else None

    def quantile(self, q: float) -> float | None:
        """Milliseconds within which a share q of the answers came; None without any."""
        return quantile(self.latency, q)


def together(parts: Mapping[str, Counters], *, healthy: bool) -> Counters:
    """The sum of what several counted, which remembers each."""
    each = parts.values()
    return Counters(
        attempts=sum(one.attempts for one in each),
        errors=sum(one.errors for one in each),
        timeouts=sum(one.timeouts for one in each),
        connect_failures=sum(one.connect_failures for one in each),
        latency=_sum(one.latency for one in each),
        healthy=healthy,
        parts=dict(parts),
    )


def between(before: Counters, after: Counters) -> Traffic:
    """The traffic from one observation to a later one; whoever restarted in between, or is new, counted from zero.

    What one that is gone counted meanwhile is nowhere: neither its requests nor their errors are in the traffic.
    """
    if after.parts:
        return _added([between(before.parts.get(name, Counters()), one) for name, one in after.parts.items()])
    if after.attempts < before.attempts:
        before = Counters()
    return Traffic(
        requests=after.attempts - before.attempts,
        errors=max(0, after.errors - before.errors),
        latency=_since(before.latency, after.latency),
        own=_since(before.own, after.own),
        scores=_since(before.scores, after.scores),
        grown_bytes=None
        if before.resident_bytes is None or after.resident_bytes is None
        else after.resident_bytes - before.resident_bytes,
    )


def _added(each: list[Traffic]) -> Traffic:
    grown = [one.grown_bytes for one in each if one.grown_bytes is not None]
    return Traffic(
        requests=sum(one.requests for one in each),
        errors=sum(one.errors for one in each),
        latency=_sum(one.latency for one in each),
        own=_sum(one.own for one in each),
        scores=_sum(one.scores for one in each),
        grown_bytes=max(grown, default=None),  # a leak is each process's own
    )


def _sum(histograms: Iterable[Histogram]) -> Histogram:
    counts: dict[float, float] = {}
    for histogram in histograms:
        for bound, count in histogram:
            counts[bound] = counts.get(bound, 0.0) + count
    return tuple(sorted(counts.items()))


def _since(before: Histogram, after: Histogram) -> Histogram:
    """What was counted in between; a slot that restarted counted from zero."""
    earlier = dict(before) if sum(count for _, count in before) <= sum(count for _, count in after) else {}
    return tuple((bound, max(0.0, count - earlier.get(bound, 0.0))) for bound, count in after)
