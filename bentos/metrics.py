"""What a slot counts about itself. BentoML's own metrics are off: they cost more than the answer does."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

REGISTRY = CollectorRegistry()
SECONDS = Histogram(
    "tidemill_request_seconds",
    "From the first byte of a request to the last of its answer.",
    ["route", "status"],
    buckets=(0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
    registry=REGISTRY,
)
SCORES = Counter(
    "tidemill_scores",
    "Scores answered, each in the bucket of its upper bound; those of mirrored requests apart.",
    ["route", "up_to"],
    registry=REGISTRY,
)
RESIDENT = Gauge("tidemill_resident_bytes", "Memory of this process that is in use.", registry=REGISTRY)
ROWS = Counter("tidemill_predictions", "Rows answered, by decision.", ["decision"], registry=REGISTRY)
DEGRADED = Counter(
    "tidemill_degraded", "Rows answered from less than all there should be, by cause.", ["cause"], registry=REGISTRY
)
EXPLAINED = Counter("tidemill_explanations", "Rows explained.", registry=REGISTRY)
UNKNOWN = Counter("tidemill_unknown", "Rows whose entity has no features, by view.", ["view"], registry=REGISTRY)
SHADOWED = Counter("tidemill_shadow_predictions", "Rows of mirrored requests answered.", registry=REGISTRY)
LOGGED = Counter("tidemill_predictions_logged", "Records written to the prediction log.", registry=REGISTRY)
DROPPED = Counter("tidemill_predictions_dropped", "Records lost because the log was too far behind.", registry=REGISTRY)
UNSAVED = Gauge("tidemill_events_unsaved", "Events that wait in memory to be stored online.", registry=REGISTRY)
LOST = Gauge("tidemill_events_lost", "Events dropped because too many waited to be stored online.", registry=REGISTRY)
BREAKER = Gauge(
    "tidemill_breaker", "Of the online store: 0 asked, 1 tried, 2 not asked for a while.", registry=REGISTRY
)
OPENED = Counter(
    "tidemill_breaker_opened", "How often the online store began a while of not being asked.", registry=REGISTRY
)
DEADLINE = Counter(
    "tidemill_deadline_exceeded",
    "Requests whose turn came too late, by what became of them.",
    ["outcome"],
    registry=REGISTRY,
)
LIMITED = Counter("tidemill_limited", "Requests refused by a key's limits.", ["key", "limit"], registry=REGISTRY)
SCANS = Counter("tidemill_scans", "Hours in which a key walked along one input.", ["key", "input"], registry=REGISTRY)
LISTS = Counter(
    "tidemill_lists",
    "Lists of a ranking answered while a release is beside this one, by whose order they are in: of both, or its own.",
    ["order"],
    registry=REGISTRY,
)
HITS = Counter("tidemill_cache_hits", "Rows answered from the cache.", registry=REGISTRY)
MISSES = Counter("tidemill_cache_misses", "Rows that the cache could have answered and had not.", registry=REGISTRY)
REFUSED = Counter("tidemill_releases_refused", "Assigned releases that were not loaded.", registry=REGISTRY)
RELEASE = Gauge("tidemill_release", "The release being served.", ["release", "digest"], registry=REGISTRY)

_BUCKETS = 20
"""Equal parts of the scores from 0 to 1."""
_SCORES = {
    route: [SCORES.labels(route, f"{(bucket + 1) / _BUCKETS:g}") for bucket in range(_BUCKETS)]
    for route in ("predict", "shadow")
}


def count_scores(route: str, scores: Iterable[float]) -> None:
    """Counts each score, a number from 0 to 1, in its bucket."""
    buckets = _SCORES[route]
    for score in scores:
        buckets[min(int(score * _BUCKETS), _BUCKETS - 1)].inc()


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


RESIDENT.set_function(_resident)


def text() -> bytes:
    """All of it in Prometheus' text format."""
    return generate_latest(REGISTRY)
