"""The reference as days, and quarters that never happened made of them; pure.

The reference's days, their weekday's mean taken out, are deviations that belong together: of every bin of every column
of that day, and of the days after it. A made-up series is a moving average of Gaussian noise whose coefficients are
these deviations: it has their covariances between bins, columns and days (a multivariate surrogate with random
amplitudes; Prichard & Theiler 1994, Physical Review Letters 73, 951). Shares are taken as square roots, of which the
variance does not depend on the share (Fisher & Yates 1948; Freeman & Tukey 1950).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.monitoring.distance import Values, bin_of, edges_of, index

QUARTER_DAYS = 91
TAILS = 4
"""Days differ with the tails of Student's t of so many degrees: rarer days than a few weeks can show do come."""
_WEEK = 7
_DAY = 86_400_000_000
_MONDAY = 4
"""The days since 1970-01-01 of the first Monday."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class History:
    """How many of each day's rows are in each bin of each column; 1970-01-01 is day 0."""

    columns: tuple[str, ...]
    day: Ints
    """In order; there may be gaps."""
    counts: Floats
    """By day, column and bin; a column with fewer bins than others ends in zeros."""
    used: NDArray[np.bool_]
    """Which bins a column has."""
    edges: tuple[Values, ...]

    @property
    def rows(self) -> Floats:
        """How many numbers each day has of each column."""
        return np.asarray(self.counts.sum(axis=2))

    @property
    def weekday(self) -> Ints:
        """Of each day, 0 being Monday."""
        return weekday_of(self.day)

    @property
    def span(self) -> int:
        """Days from the first to the last, both included."""
        return int(self.day[-1] - self.day[0]) + 1


def weekday_of(day: Ints) -> Ints:
    """The weekday of days since 1970, 0 being Monday."""
    return np.asarray((day - _MONDAY) % _WEEK)


def history_of(event_time: Ints, columns: Mapping[str, Values], edges: tuple[Values, ...] = ()) -> History:
    """The days of rows: their microseconds since 1970, each column's values, and the bins if they are not their own."""
    days, of = np.unique(event_time // _DAY, return_inverse=True)
    edges = edges or tuple(edges_of(values) for values in columns.values())
    width = max(len(one) for one in edges) + 1
    counts = np.zeros((len(days), len(columns), width))
    used = np.zeros((len(columns), width), dtype=np.bool_)
    for number, (ends, values) in enumerate(zip(edges, columns.values(), strict=True)):
        known = np.isfinite(values)
        places = of[known] * width + bin_of(values[known], ends)
        counts[:, number] = np.bincount(places, minlength=len(days) * width).reshape(len(days), width)
        used[number, : len(ends) + 1] = True
    return History(columns=tuple(columns), day=days.astype(np.int64), counts=counts, used=used, edges=edges)


def watched(
    reference: Floats, reference_weekday: Ints, served: Floats, weekday: Ints, used: NDArray[np.bool_],
    window_days: int, minimum_rows: int,
) -> Floats:  # fmt: skip
    """The distances of the windows that end on consecutive days, a row each and a column each.

    A window is compared with the reference's days of the same weekdays, or with all when these have too few rows.
    """
    sums = np.concatenate([np.zeros_like(served[:1]), np.cumsum(served, axis=0)])
    windows = sums[window_days:] - sums[:-window_days]
    every = reference.sum(axis=0)
    by_weekday = np.stack([reference[reference_weekday == one].sum(axis=0) for one in range(_WEEK)])
    alike = np.empty((_WEEK, *every.shape))
    for last in range(_WEEK):
        matched = by_weekday[sorted({(last - back) % _WEEK for back in range(window_days)})].sum(axis=0)
        alike[last] = matched if matched.sum(axis=1).max() >= minimum_rows else every
    return index(alike[weekday[window_days - 1 :]], windows, used)


def quarters(
    history: History, numbers: Floats, *, window_days: int, minimum_rows: int, count: int, seed: int
) -> Iterator[Floats]:
    """Distances as `watched` has them, of made-up quarters in which nothing but chance moves a column.

    `numbers` are a served day's numbers of each column.
    """
    random = np.random.default_rng(seed)
    means, apart, freedom = _taken_apart(history)
    shape, span, places = apart.shape[1:], history.span, history.day - history.day[0]
    series = np.zeros((span, apart[0].size))
    series[places] = apart.reshape(len(apart), -1)
    total = span + QUARTER_DAYS + window_days - 1
    calendar = weekday_of(history.day[0] + np.arange(total))
    fewer = np.maximum(0, 1 / numbers - 1 / np.maximum(history.rows.mean(axis=0), 1))
    thinner = np.sqrt(fewer / 4)[:, None]  # of the square root of a share: what fewer rows than the reference's add
    for _ in range(count):
        noise = random.normal(size=total + span - 1) / np.sqrt(len(history.day))
        windows = np.lib.stride_tricks.sliding_window_view(noise, span)
        moving = np.einsum(
            "td,dk->tk", windows, series
        )  # `@` starts threads that wait for one another longer than this
        unsure = np.sqrt(freedom / random.chisquare(freedom))  # what these few days say of how much days differ
        rare = np.sqrt((TAILS - 2) / random.chisquare(TAILS, (total, shape[0])))
        made = means[calendar] + (rare * unsure)[:, :, None] * moving.reshape(total, *shape)
        made[span:] += thinner * random.normal(size=(total - span, *shape))
        share = np.where(history.used, np.maximum(made, 0) ** 2, 0)
        share /= share.sum(axis=-1, keepdims=True)
        before = share[places] * history.rows[:, :, None]
        after = share[span:] * numbers[:, None]
        yield watched(before, calendar[places], after, calendar[span:], history.used, window_days, minimum_rows)


def _taken_apart(history: History) -> tuple[Floats, Floats, Floats]:
    """The weekdays' mean root shares, how each day differs from its weekday's, and each column's degrees of freedom."""
    rows = history.rows[:, :, None]
    overall = history.counts.sum(axis=0) / np.maximum(history.counts.sum(axis=(0, 2)), 1)[:, None]
    root = np.sqrt((history.counts + overall) / (rows + 1))  # a day without rows is as all of them
    weekday = history.weekday
    means = np.stack(
        [root[weekday == one].mean(axis=0) if (weekday == one).any() else root.mean(axis=0) for one in range(_WEEK)]
    )
    apart = root - means[weekday]
    known = (history.rows > 0).sum(axis=0)
    freedom = _freedom(apart, known, len(np.unique(weekday)))
    return means, apart * np.sqrt(len(apart) / freedom)[:, None], freedom


def _freedom(apart: Floats, known: Ints, estimated: int) -> Floats:
    """How many independent days each column's deviations are worth, of the `known` ones, less the means; at least 4.

    Days that resemble the one before are worth (1 - r) / (1 + r) of a day (Bayley & Hammersley 1946), where r is their
    correlation, corrected for its bias in short series (Kendall 1954).
    """
    square = (apart**2).sum(axis=(0, 2))
    along = (apart[1:] * apart[:-1]).sum(axis=(0, 2)) / np.where(square > 0, square, 1)
    along = np.clip(along + (1 + 3 * along) / np.maximum(known, 1), 0, 0.9)
    return np.asarray(np.maximum((known - estimated) * (1 - along) / (1 + along), 4.0))
