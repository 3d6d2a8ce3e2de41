"""Halves and interleaved lists on the same people: `python -m tests.experiment.interleaved` prints what docs/experiments.md
says of how many searches either takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jobs.experiment.interleaving import Drafted, draft, preferences
from jobs.experiment.lists import Lists
from jobs.experiment.preference import judge
from jobs.rollout.means import Sample, difference_interval
from jobs.spec import Interleaving

LENGTH, STABLE = 10, 1.0
"""Documents a search, and the noise with which the stable release knows what they are worth."""
EXAMINED = 1 / np.arange(1, LENGTH + 1)
"""How likely each place is looked at."""
LOOKS, RUNS = 40, 11
POLICY = Interleaving(minimum_effect=0.01, maximum_days=10_000)
Floats = NDArray[np.float64]


def noisy(random: np.random.Generator, noise: float) -> tuple[Floats, list[int]]:
    """What a search's documents are worth, and the order of a release that knows it with a noise."""
    worth = random.normal(0, 1, LENGTH)
    return worth, np.argsort(-(worth + random.normal(0, noise, LENGTH))).tolist()


def clicked(random: np.random.Generator, worth: Floats, drafted: Sequence[Drafted[int]]) -> NDArray[np.bool_]:
    """Which places of a list people click: those they look at and like."""
    shown = worth[[one.item for one in drafted]]
    return (random.random(LENGTH) < EXAMINED) & (random.random(LENGTH) < 1 / (1 + np.exp(1 - 2 * shown)))


def votes(random: np.random.Generator, noise: float, searches: int) -> NDArray[np.int64]:
    """Each search's preference between a candidate of this noise and the stable release."""
    found = []
    for number in range(searches):
        worth, stable = noisy(random, STABLE)
        candidate = np.argsort(-(worth + random.normal(0, noise, LENGTH))).tolist()
        drafted = draft(candidate, stable, f"{number}")
        hits = clicked(random, worth, drafted)
        found.append(vote(drafted, hits))
    return np.array(found, dtype=np.int64)


def vote(drafted: Sequence[Drafted[int]], hits: NDArray[np.bool_]) -> int:
    """Which side a list's clicks prefer: 1 is the candidate, -1 the stable release, 0 neither."""
    mine = np.array([one.side == "candidate" for one in drafted])
    agreed = np.array([one.agreed for one in drafted])
    return int(preferences(np.zeros(len(mine), dtype=np.int64), mine, hits & ~agreed)[0])


def outcomes(random: np.random.Generator, noise: float, searches: int) -> Floats:
    """Of each search of one release alone the reciprocal place of its first click, 0 without any: what halves compare."""
    worth = random.normal(0, 1, (searches, LENGTH))
    order = np.argsort(-(worth + random.normal(0, noise, worth.shape)), axis=1)
    shown = np.take_along_axis(worth, order, axis=1)
    hits = (random.random(shown.shape) < EXAMINED) & (random.random(shown.shape) < 1 / (1 + np.exp(1 - 2 * shown)))
    return np.where(hits.any(axis=1), 1 / (1 + hits.argmax(axis=1)), 0.0)


def interleaved_takes(random: np.random.Generator, noise: float, most: int) -> int | None:
    """After how many searches, of those that the candidate's slot is asked, it is promoted; None if not by then."""
    some = votes(random, noise, most)
    for count in np.linspace(most // LOOKS, most, LOOKS).astype(int).tolist():
        found = Lists(preference=some[:count], known=np.zeros(count, dtype=np.int64))
        if judge(POLICY, found, waited=0).decision.value == "PROMOTE":
            return int(count)
    return None


def halves_take(random: np.random.Generator, noise: float, most: int) -> int | None:
    """After how many searches, of both halves together, the candidate's are surely better; None if not by then."""
    sides = [outcomes(random, one, most // 2) for one in (noise, STABLE)]
    for count in np.linspace(most // LOOKS, most, LOOKS).astype(int).tolist():
        samples = [
            Sample(count=count // 2, mean=float(one.mean()), variance=float(one.var(ddof=1)))
            for one in (side[: count // 2] for side in sides)
        ]
        if difference_interval(*samples, POLICY.alpha, most // 2).low > 0:
            return int(count)
    return None


def main() -> None:
    """Prints, for candidates that are better by more and more, the searches that the median experiment took."""
    for noise, few, many in (
        (0.95, 30_000, 600_000),
        (0.9, 10_000, 150_000),
        (0.8, 3_000, 40_000),
        (0.6, 1_000, 8_000),
    ):
        random = np.random.default_rng(1)
        some = votes(random, noise, 10_000)
        share, gain = (some > 0).sum() / (some != 0).sum(), float(outcomes(random, noise, 400_000).mean())
        gain = gain / float(outcomes(random, STABLE, 400_000).mean()) - 1
        took = [[take(random, noise, most) or 2 * most for _ in range(RUNS)]
                for take, most in ((interleaved_takes, few), (halves_take, many))]  # fmt: skip
        ours, theirs = (int(np.median(one)) for one in took)
        print(
            f"noise {noise}: reciprocal place {100 * gain:+.1f} %, preferred in {share:.3f} of the lists with a preference "
            f"({(some != 0).mean():.2f} of all); interleaved {ours:,} searches, halves {theirs:,}: {theirs / ours:.1f} times",
            flush=True,
        )


if __name__ == "__main__":
    main()
