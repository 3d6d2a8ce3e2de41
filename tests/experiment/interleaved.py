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
LOOKS, RUNS = 40, 11
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
    orders = zip(order(random, worth, noise).tolist(), order(random, worth, STABLE).tolist(), strict=True)
    lists = [draft(one, other, f"{number}") for number, (one, other) in enumerate(orders)]
    shown = np.array([[one.item for one in drafted] for drafted in lists])
    mine = np.array([[one.side == "candidate" for one in drafted] for drafted in lists])
    agreed = np.array([[one.agreed for one in drafted] for drafted in lists])
    hits = clicked(random, worth, shown) & ~agreed
    return preferences(np.repeat(np.arange(len(worth)), LENGTH), mine.ravel(), hits.ravel())


def places(random: np.random.Generator, worth: Floats, noise: float) -> Floats:
    """Of each search of one release alone the reciprocal place of its first click, 0 without any: what halves compare."""
    hits = clicked(random, worth, order(random, worth, noise))
    return np.where(hits.any(axis=1), 1 / (1 + hits.argmax(axis=1)), 0.0)


def looks(most: int) -> list[int]:
    return np.linspace(most // LOOKS, most, LOOKS).astype(int).tolist()


def interleaved_takes(some: NDArray[np.int64]) -> int | None:
    """After how many of these searches, which the candidate's slot is asked, it is promoted; None if not by then."""
    for count in looks(len(some)):
        found = Lists(preference=some[:count], known=np.zeros(count, dtype=np.int64))
        if judge(POLICY, found, waited=0).decision.value == "PROMOTE":
            return count
    return None


def halves_take(sides: tuple[Floats, Floats], planned: int) -> int | None:
    """After how many searches, of both halves together, the first side is surely better; None if not by then."""
    for count in looks(2 * len(sides[0])):
        samples = [
            Sample(count=count // 2, mean=float(one.mean()), variance=float(one.var(ddof=1)))
            for one in (side[: count // 2] for side in sides)
        ]
        if difference_interval(samples[0], samples[1], POLICY.alpha, planned).low > 0:
            return count
    return None


def main() -> None:
    """Prints, for candidates that are better by more and more, the searches that the median experiment took."""
    from jobs.projects.search import simulate

    library = simulate._library(1, False)

    def asked(random: np.random.Generator, searches: int) -> Floats:
        return simulate.wanted(library, random.integers(0, simulate.QUERIES, searches), date(2026, 2, 1))

    for noise in (1.9, 1.8, 1.6, 1.2):
        random = np.random.default_rng(1)
        mine, theirs = (places(random, asked(random, 1_000_000), one) for one in (noise, STABLE))
        gain, errors = mine.mean() - theirs.mean(), width(POLICY.alpha) + normal_quantile(POLICY.power)
        planned = int(4 * theirs.var() * (errors / gain) ** 2)
        some = votes(random, asked(random, 20_000), noise)
        share, decided = (some > 0).sum() / (some != 0).sum(), (some != 0).mean()
        took = [
            interleaved_takes(votes(random, asked(random, planned // 2), noise)) or planned for _ in range(RUNS)
        ], [
            halves_take((places(random, asked(random, planned), noise), places(random, asked(random, planned), STABLE)), planned)
            or 4 * planned for _ in range(RUNS)
        ]  # fmt: skip
        ours, halves = (int(np.median(one)) for one in took)
        print(
            f"noise {noise}: reciprocal place {100 * gain / theirs.mean():+.1f} %, preferred in {100 * share:.1f} % of the "
            f"lists with a preference ({100 * decided:.0f} % of all); interleaved {ours:,} searches, halves {halves:,} "
            f"({planned:,} planned): {halves / ours:.1f} times",
            flush=True,
        )


if __name__ == "__main__":
    main()
