"""Halves and interleaved lists on the same people: `python -m tests.experiment.interleaved` prints what docs/experiments.md
says of how many searches either takes, in the library of the simulator of `search`."""

from __future__ import annotations

from datetime import date

import numpy as np
from numpy.typing import NDArray

from jobs.experiment.design import normal_quantile, width
from jobs.experiment.interleaving import draft, preferences
from jobs.experiment.lists import Lists
from jobs.experiment.preference import judge
from jobs.rollout.means import Sample, difference_interval
from jobs.spec import Interleaving

LENGTH, STABLE = 10, 2.0
"""Documents a search, and the noise with which the stable release knows what they are worth, in log-odds of a click."""
EXAMINED = 1 / np.arange(1, LENGTH + 1)
"""How likely each place is looked at."""
LOOKS, RUNS, POOL = 40, 51, 500_000
POLICY = Interleaving(minimum_effect=0.001, maximum_days=10_000)
Floats = NDArray[np.float64]


def worths(random: np.random.Generator, searches: int) -> Floats:
    """Log-odds that somebody who looks at it clicks, of each document of made-up searches."""
    return random.normal(-1, 2, (searches, LENGTH))


def order(random: np.random.Generator, worth: Floats, noise: float) -> NDArray[np.int64]:
    """The documents of each search as a release shows them that knows their worth up to a noise."""
    return np.argsort(-(worth + random.normal(0, noise, worth.shape)), axis=-1)


def clicked(random: np.random.Generator, worth: Floats, shown: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which places of each list people click: those they look at and like."""
    liked = 1 / (1 + np.exp(-np.take_along_axis(worth, shown, axis=-1)))
    return (random.random(shown.shape) < EXAMINED) & (random.random(shown.shape) < liked)


def votes(random: np.random.Generator, worth: Floats, noise: float) -> NDArray[np.int64]:
    """Each search's preference between a candidate of this noise and the stable release."""
    return preferred(random, worth, order(random, worth, noise), order(random, worth, STABLE))


def preferred(
    random: np.random.Generator, worth: Floats, candidate: NDArray[np.int64], stable: NDArray[np.int64]
) -> NDArray[np.int64]:  # fmt: skip
    """Each search's preference between two orders, which are interleaved and clicked."""
    pairs = zip(candidate.tolist(), stable.tolist(), strict=True)
    lists = [draft(one, other, f"{number}") for number, (one, other) in enumerate(pairs)]
    shown = np.array([[one.item for one in drafted] for drafted in lists])
    mine = np.array([[one.side == "candidate" for one in drafted] for drafted in lists])
    agreed = np.array([[one.agreed for one in drafted] for drafted in lists])
    hits = clicked(random, worth, shown) & ~agreed
    return preferences(np.repeat(np.arange(len(worth)), LENGTH), mine.ravel(), hits.ravel())


def places(hits: NDArray[np.bool_]) -> Floats:
    """Of each list the reciprocal place of its first click, 0 without any."""
    return np.where(hits.any(axis=1), 1 / (1 + hits.argmax(axis=1)), 0.0)


def interleaved_takes(random: np.random.Generator, some: NDArray[np.int64], most: int) -> int:
    """After how many searches, drawn from these preferences, the candidate is promoted; twice the most if not by then."""
    drawn = random.choice(some, most)
    for count in np.linspace(most // LOOKS, most, LOOKS).astype(int).tolist():
        found = Lists(preference=drawn[:count], known=np.zeros(count, dtype=np.int64))
        if judge(POLICY, found, waited=0).decision.value == "PROMOTE":
            return int(count)
    return 2 * most


def halves_take(random: np.random.Generator, candidate: Floats, stable: Floats, planned: int) -> int:
    """After how many searches, drawn for both halves together, the candidate is surely better; twice the most if not."""
    most = 2 * planned
    sides = [random.choice(one, most // 2) for one in (candidate, stable)]
    for count in np.linspace(most // LOOKS, most, LOOKS).astype(int).tolist():
        samples = [
            Sample(count=count // 2, mean=float(one.mean()), variance=float(one.var(ddof=1)))
            for one in (side[: count // 2] for side in sides)
        ]
        if difference_interval(samples[0], samples[1], POLICY.alpha, planned).low > 0:
            return int(count)
    return 2 * most


def main() -> None:
    """Prints, for candidates that err less, the searches that the median experiment took by lists and by halves."""
    from jobs.projects.search import simulate

    library, errors = simulate._library(1, False), width(POLICY.alpha) + normal_quantile(POLICY.power)
    for shared, stable, candidate in ((1.5, 0.8, 0.3), (0.0, 2.0, 1.6)):
        random = np.random.default_rng(1)
        worth = simulate.wanted(library, random.integers(0, simulate.QUERIES, POOL), date(2026, 2, 1))
        known = worth + random.normal(0, shared, worth.shape)
        orders = [order(random, known, one) for one in (candidate, stable)]
        seed = int(random.integers(2**32))  # both halves are drawn from the same people
        hits = [clicked(np.random.default_rng(seed), worth, one) for one in orders]
        some = preferred(random, worth[: POOL // 10], *(one[: POOL // 10] for one in orders))
        share = float((some > 0).sum() / (some != 0).sum())
        print(
            f"errors shared {shared}, own {stable} and {candidate}: {100 * share:.1f} % of the lists with a preference "
            f"({100 * (some != 0).mean():.0f} % of all) prefer the candidate"
        )
        took = int(np.median([interleaved_takes(random, some, 80_000) for _ in range(RUNS)]))
        print(f"  lists: {took:,} searches", flush=True)
        for name, of in (("reciprocal place", places), ("clicks", lambda one: one.sum(axis=1).astype(np.float64))):
            mine, theirs = (of(one) for one in hits)
            gain = mine.mean() - theirs.mean()
            planned = int(4 * theirs.var() * (errors / gain) ** 2)
            halves = int(np.median([halves_take(random, mine, theirs, planned) for _ in range(RUNS)]))
            print(
                f"  halves by {name}, {100 * gain / theirs.mean():+.1f} %: {halves:,} searches ({planned:,} planned), "
                f"{halves / took:.1f} times as many",
                flush=True,
            )


if __name__ == "__main__":
    main()
