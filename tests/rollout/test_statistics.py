"""What the intervals promise, held against draws: they are looked at often, and are hardly ever wrong."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.release.checks import State
from jobs.rollout.comparisons import improved, not_worse
from jobs.rollout.distances import distance, distance_interval, radius
from jobs.rollout.means import Sample, difference_interval
from jobs.rollout.statistics import (
    Interval,
    evidence_above,
    proportion,
    quantile,
    quantile_interval,
    share_evidence,
)

ALPHA, WALKS, LOOKS = 0.1, 150, 25
NAN = math.nan
BOUNDS = tuple(np.round(np.linspace(0.05, 1.0, 20), 2).tolist())
Draw = Callable[[np.random.Generator, int], Interval]


def counted(values: np.ndarray) -> list[tuple[float, float]]:
    return list(zip(BOUNDS, np.histogram(values, bins=[0.0, *BOUNDS])[0].tolist(), strict=True))


def a_rate(rng: np.random.Generator, count: int) -> list[Interval]:
    failures = (rng.random(count) < 0.02).cumsum()
    return [proportion(int(failures[at - 1]), at, ALPHA) for at in range(count // LOOKS, count + 1, count // LOOKS)]


def a_quantile(rng: np.random.Generator, count: int) -> list[Interval]:
    values = rng.random(count)
    return [
        quantile_interval(counted(values[:at]), 0.9, ALPHA) for at in range(count // LOOKS, count + 1, count // LOOKS)
    ]


def a_distance(rng: np.random.Generator, count: int) -> list[Interval]:
    """Of uniform values from their squares: .25, where x is a quarter."""
    one, other = rng.random(count), rng.random(count) ** 2
    steps = range(count // LOOKS, count + 1, count // LOOKS)
    return [distance_interval(counted(one[:at]), counted(other[:at]), ALPHA) for at in steps]


def a_difference(rng: np.random.Generator, count: int) -> list[Interval]:
    one, other = rng.exponential(1.2, count), rng.exponential(1.0, count // 2)
    steps = range(max(400, count // LOOKS), count + 1, count // LOOKS)
    return [
        difference_interval(Sample.of(one[:at].tolist()), Sample.of(other[: at // 2].tolist()), ALPHA, count)
        for at in steps
    ]


@pytest.mark.parametrize(
    ("draw", "truth"), [(a_rate, 0.02), (a_quantile, 0.9), (a_distance, 0.25), (a_difference, 0.2)]
)
def test_the_truth_is_in_the_interval_at_every_look(draw: Draw, truth: float) -> None:
    rng, wrong, widths = np.random.default_rng(3), 0, []
    for _ in range(WALKS):
        looks = draw(rng, 2_000)
        wrong += any(not one.low <= truth <= one.high for one in looks)
        widths.append(looks[-1].high - looks[-1].low)
    assert wrong <= ALPHA * WALKS, f"{wrong} of {WALKS} walks"
    assert np.median(widths) < 0.5, "an interval that holds everything would always be right"


@given(st.integers(0, 400), st.integers(1, 400), st.floats(0.001, 0.5))
def test_a_rate_s_interval_holds_what_was_seen_and_moves_with_it(events: int, more: int, alpha: float) -> None:
    trials = 1_000
    found, after = proportion(events, trials, alpha), proportion(events + more, trials, alpha)
    assert 0 <= found.low <= events / trials <= found.high <= 1
    assert found.low <= after.low
    assert found.high <= after.high
    surer = proportion(events, trials, alpha / 10)
    assert surer.low <= found.low
    assert found.high <= surer.high


@given(st.lists(st.integers(0, 300), min_size=3, max_size=3).filter(any), st.floats(0.05, 0.95))
def test_a_quantile_s_interval_holds_the_quantile(counts: list[int], q: float) -> None:
    histogram = list(zip((1.0, 2.0, 4.0), map(float, counts), strict=True))
    found, middle = quantile_interval(histogram, q, 0.05), quantile(histogram, q)
    assert middle is not None
    assert found.low <= middle <= found.high


@pytest.mark.parametrize(
    ("mine", "total", "logarithm"),
    [(500, 10_000, -2.324083), (70, 1_020, 1.720306), (2, 32, -0.158873), (700, 10_000, 34.834396)],
)
def test_a_share_s_evidence_is_what_savvi_computes(mine: int, total: int, logarithm: float) -> None:
    """savvi 0.3.1, Multinomial(theta_0=[.95, .05], k=100): the logarithm of its odds after one update."""
    assert share_evidence(mine, total, 0.05) == pytest.approx(logarithm, abs=1e-5)


def test_a_tolerance_only_takes_evidence_away() -> None:
    for mine in range(0, 1_001, 20):
        assert share_evidence(mine, 1_000, 0.05, 0.02) <= share_evidence(mine, 1_000, 0.05) + 1e-9
    assert share_evidence(60, 1_000, 0.05, 0.02) < 0


@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.001])
def test_the_band_s_constants_are_those_of_its_theorem(alpha: float) -> None:
    """Howard and Ramdas 2022, theorem 2, with A = .85: its chance of error at their constant is alpha or less."""
    constant, scale = 0.8 * math.log(1612 / alpha), 0.85
    chances = []
    for eta in np.linspace(1.0005, 2 * scale**2 - 1e-6, 2_000):
        gamma = math.sqrt(2 / eta) * (scale - math.sqrt(2 * (eta - 1) / constant))
        if gamma > 1:
            chances.append(4 * math.exp(-(gamma**2) * constant) * (1 + 1 / ((gamma**2 - 1) * math.log(eta))))
    assert min(chances) <= alpha
    assert radius(1, alpha) == 1.0


def test_histograms_of_other_buckets_have_no_distance() -> None:
    with pytest.raises(ValueError, match="other buckets"):
        distance([(0.5, 1)], [(0.4, 1)])
    assert distance([(0.5, 0)], [(0.5, 3)]) is None
    assert distance_interval([(0.5, 0)], [(0.5, 3)], 0.05) == Interval(0.0, 1.0)


LEVEL, HIGHER = Sample(count=9_000, mean=1.0, variance=1.0), Sample(count=9_000, mean=1.2, variance=1.0)


@pytest.mark.parametrize(
    ("treated", "first", "second"),
    [
        (HIGHER, State.PASSED, State.PASSED),
        (LEVEL, State.UNDECIDED, State.UNDECIDED),
        (Sample(count=9_000, mean=0.8, variance=1.0), State.FAILED, State.FAILED),
        (Sample(count=50, mean=9.0, variance=1.0), State.UNDECIDED, State.UNDECIDED),
        (Sample(count=9_000, mean=NAN, variance=1.0), State.FAILED, State.FAILED),
        (Sample(count=9_000, mean=1.2, variance=-1.0), State.FAILED, State.FAILED),
        (Sample.of([]), State.UNDECIDED, State.UNDECIDED),
    ],
)
def test_a_mean_improves_or_is_not_worse_only_when_its_whole_interval_says_so(
    treated: Sample, first: State, second: State
) -> None:
    assert improved("m", treated, LEVEL, effect=0.0, alpha=0.05, planned=18_000).state is first
    assert not_worse("m", treated, LEVEL, margin=0.01, alpha=0.05, planned=18_000).state is second
    if first is not State.UNDECIDED and math.isfinite(treated.mean) and treated.variance > 0:
        swapped = improved("m", treated, LEVEL, effect=0.0, alpha=0.05, planned=18_000, lower_is_better=True).state
        assert {first, swapped} == {State.PASSED, State.FAILED}


@pytest.mark.parametrize(("events", "trials", "limit"), [(2, 1, 0.1), (-1, 3, 0.1), (1, 3, 0.0), (1, 3, 1.0)])
def test_impossible_counts_are_refused(events: float, trials: float, limit: float) -> None:
    with pytest.raises(ValueError, match=r"impossible|between"):
        evidence_above(events, trials, limit)
