"""`make simulate`: what the release decisions get wrong, counted; writes the tables and pictures of docs/decisions.md.

Everything is drawn from fixed seeds, so the same code writes the same bytes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from jobs.spec import Canary
from tests.simulation import pages, peeking, plots
from tests.simulation.traffic import Scenario, Slot
from tests.simulation.walk import run

ROOT = Path(__file__).resolve().parents[2]
POLICY = Canary()
STRICT = replace(POLICY, maximum_latency_ratio=1.2, latency_floor_milliseconds=1.0)
ALIKE = 1_000
DIFFERENT = 200
GOOD = (
    Scenario(name="as good as stable", policy=POLICY),
    Scenario(name="as good, a quarter of the traffic", policy=POLICY, requests=1_000),
    Scenario(name="as good, machine five times slower in every third look", policy=POLICY, slowdown=5.0),
)
BAD = (
    Scenario(name="errors 0.4 % → 0.5 %, within the floor", policy=POLICY, candidate=Slot(error_rate=0.005)),
    Scenario(name="errors 0.4 % → 0.8 % (twice)", policy=POLICY, candidate=Slot(error_rate=0.008)),
    Scenario(name="errors 0.4 % → 0.9 % (+0.5 points)", policy=POLICY, candidate=Slot(error_rate=0.009)),
    Scenario(name="errors 0.4 % → 2 %", policy=POLICY, candidate=Slot(error_rate=0.02)),
    Scenario(name="95th percentile × 1.5 (limit × 1.2)", policy=STRICT, candidate=Slot(median_milliseconds=3.0)),
    Scenario(name="95th percentile × 5 (limit × 2)", policy=POLICY, candidate=Slot(median_milliseconds=10.0)),
    Scenario(name="scores Beta(1, 9) → Beta(2, 7)", policy=POLICY, candidate=Slot(scores=(2.0, 7.0))),
    Scenario(name="7 % of the traffic at a weight of 5 %", policy=POLICY, routed={5: 0.07}),
)
LIFT = 0.05
Found = TypeVar("Found")


def main() -> None:
    """Runs every simulation and writes the page."""
    began = time.process_time()
    good = [_told(scenario.name, ALIKE, lambda each, s=scenario: run(s, ALIKE, 11, each)) for scenario in GOOD]
    bad = [_told(scenario.name, DIFFERENT, lambda each, s=scenario: run(s, DIFFERENT, 12, each)) for scenario in BAD]
    alike = _told("peeking at errors", ALIKE, lambda each: peeking.errors(POLICY, ALIKE, 13, each))
    level = _told("A/A of a mean", ALIKE, lambda each: peeking.means(0.0, POLICY.alpha, ALIKE, 14, each))
    lifted = _told("A/B of a mean", DIFFERENT, lambda each: peeking.means(LIFT, POLICY.alpha, DIFFERENT, 15, each))
    pages.write(ROOT / "docs" / "decisions.md", good, bad, alike, level, lifted, LIFT)
    plots.peeking(ROOT / "docs" / "decisions-peeking.svg", alike, level, POLICY.alpha)
    plots.intervals(ROOT / "docs" / "decisions-intervals.svg", GOOD[0], BAD[3])
    plots.delays(ROOT / "docs" / "decisions-delays.svg", bad[1:])
    print(f"docs/decisions.md and its pictures are written; {time.process_time() - began:.0f} CPU seconds")


def _told(what: str, total: int, work: Callable[[Callable[[], None]], Found]) -> Found:
    with _progress(what, total) as each:
        return work(each)


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Tells on standard error how many of the rollouts are done, at every tenth of them."""
    done = 0

    def each() -> None:
        nonlocal done
        done += 1
        if done % (total // 10) == 0:
            print(f"\r{what}: {done:,} of {total:,} rollouts", end="", file=sys.stderr, flush=True)

    yield each
    print(file=sys.stderr)


if __name__ == "__main__":
    main()
