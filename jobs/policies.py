"""What has to hold before a release serves, and while it does: values that a project declares."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.slices import Slice


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A metric's floor (or ceiling), and how far it may fall behind the champion."""

    metric: str
    minimum: float | None = None
    maximum: float | None = None
    allowed_regression: float | None = None


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What a challenger must show on the hold-out before it may be registered."""

    thresholds: tuple[Threshold, ...]
    minimum_rows: int
    minimum_positives: int
    slices: tuple[Slice, ...] = ()
    """Groups of the hold-out's rows in which it has to be good as well."""


@dataclass(frozen=True, kw_only=True)
class Canary:
    """How a release walks from no traffic to all of it."""

    steps: tuple[int, ...] = (5, 25, 50, 100)
    """Percent of traffic at each step."""
    bake_seconds: int = 600
    """How long a step is watched before its verdict may advance it."""
    deadline_seconds: int = 3_600
    """How long a step may hold for want of evidence before it is rolled back."""
    minimum_requests: int = 500
    maximum_error_rate: float = 0.01
    maximum_latency_ratio: float = 2.0
    """The candidate's 95th percentile over the stable slot's, in the same period."""
    latency_floor_milliseconds: float = 10.0
    """Below this the candidate's 95th percentile is never too slow."""


@dataclass(frozen=True, kw_only=True)
class Drift:
    """When the served world counts as moved away from the one trained on."""

    window_days: int
    """The days up to the batch that are compared with the reference window."""
    minimum_rows: int
    column_threshold: float
    """Population stability index above which a column has drifted."""
    share_threshold: float
    """Share of drifted columns above which the data set has."""
    cool_down_days: int
    """Days after a requested retraining in which no other is requested."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """How much of what was served must come out the same when it is computed once more from the lake."""

    minimum_identical: float = 0.999
    """The share of vectors that are the same bits; each of the others needs a cause that is known."""
