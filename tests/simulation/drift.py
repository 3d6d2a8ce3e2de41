"""Quarters of worlds that stand still, and of worlds that shift: how often drift alarms, and how soon.

`python -m tests.simulation.drift` writes the tables between the markers of docs/drift.md, and its picture.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.monitoring import drift_plot
from jobs.monitoring.alarms import persistent
from jobs.monitoring.calibration import Calibration, alarms_of, calibrate
from jobs.monitoring.quarters import QUARTER_DAYS, History, history_of, watched
from jobs.policies import Drift
from jobs.settings import ROOT
from jobs.storage import write_atomically

POLICY = Drift(window_days=3, minimum_rows=500, cool_down_days=7)
COLUMNS, REFERENCE_DAYS, ROWS = 8, 35, 300
"""Columns; days of reference; rows a day."""
SHIFTED_FROM = 30
"""The day of a quarter from which a shifted world has shifted."""
SHIFTS = (0.25, 0.4, 0.6, 1.0)
"""Of one column of the eight, in standard deviations of its rows."""
MADE_UP = 100
"""Quarters that each calibration makes up: half of the stage's, so that many references can be tried."""
_DAY, _FIRST = 86_400_000_000, 20_000
_PAGE, _PICTURE = ROOT / "docs" / "drift.md", ROOT / "docs" / "drift.png"


@dataclass(frozen=True, kw_only=True)
class World:
    """How days differ where nothing changes, in standard deviations of a day's rows."""

    name: str
    spread: float = 0.0
    """Of a day's mean."""
    weekend: float = 0.0
    """By how much weekends are higher."""
    memory: float = 0.0
    """The correlation of a day's mean with the day before's."""
    tails: int = 0
    """Degrees of freedom of Student's t for the days' means; 0 is Gaussian."""


WORLDS = (
    World(name="all rows are independent"),
    World(name="days differ", spread=0.2),
    World(name="days differ, and weekends from them", spread=0.2, weekend=0.5),
    World(name="days differ and resemble the day before (correlation 0.7)", spread=0.2, memory=0.7),
    World(name="days differ, some of them wildly (Student's t, 4 degrees)", spread=0.2, tails=4),
)

WILDER = (
    World(name="days differ twice as much and resemble the day before (correlation 0.85)", spread=0.4, memory=0.85),
    World(name="Student's t of 4 degrees, correlation 0.5, and weekends", spread=0.3, tails=4, memory=0.5, weekend=0.5),
    World(name="Student's t of 3 degrees", spread=0.3, tails=3),
)
"""Beyond what the constants of calibration were chosen on: where the budget ends."""
SEEDS = 10_000
"""The first seed: those below 100 were used to choose the constants."""


@dataclass(frozen=True, kw_only=True)
class Quarter:
    """A reference and the quarter after it."""

    reference: History
    served: History
    rows: NDArray[np.float64]
    """The quarter's values: by day, row and column."""

    def calibrated(self, policy: Drift, seed: int) -> Calibration:
        numbers = dict.fromkeys(self.reference.columns, ROWS)
        return calibrate(
            self.reference, policy, numbers=numbers, window_days=policy.window_days, seed=seed, count=MADE_UP
        )

    def distances(self, policy: Drift, shift: float = 0.0) -> NDArray[np.float64]:
        """By batch and column; with a shift, of the first column from a day of the quarter on."""
        served = self.served
        if shift:
            rows = self.rows.copy()
            rows[SHIFTED_FROM + policy.window_days - 1 :, :, 0] += shift
            served = _history(rows, _FIRST + REFERENCE_DAYS, self.reference)
        return watched(
            self.reference.counts, self.reference.weekday, served.counts, served.weekday, self.reference.used,
            policy.window_days, policy.minimum_rows,
        )  # fmt: skip


def quarter(world: World, policy: Drift, seed: int) -> Quarter:
    """A reference of a world, and as many days after it as a quarter's batches need."""
    random = np.random.default_rng([20_261_121, seed])
    days = REFERENCE_DAYS + QUARTER_DAYS + policy.window_days - 1
    fresh = random.normal(size=(days, COLUMNS))
    if world.tails:
        fresh = random.standard_t(world.tails, size=(days, COLUMNS)) * math.sqrt((world.tails - 2) / world.tails)
    means = np.zeros((days, COLUMNS))
    for day in range(days):
        before = means[day - 1] if day else random.normal(size=COLUMNS)
        means[day] = world.memory * before + math.sqrt(1 - world.memory**2) * fresh[day]
    weekend = np.where((np.arange(days) % 7 >= 5)[:, None], world.weekend, 0.0)
    rows = random.normal(size=(days, ROWS, COLUMNS)) + (world.spread * means + weekend)[:, None, :]
    reference = _history(rows[:REFERENCE_DAYS], _FIRST)
    later = rows[REFERENCE_DAYS:]
    return Quarter(reference=reference, served=_history(later, _FIRST + REFERENCE_DAYS, reference), rows=later)


def _history(rows: NDArray[np.float64], first: int, like: History | None = None) -> History:
    days, count, columns = rows.shape
    times = np.repeat((first + np.arange(days)) * _DAY, count)
    values = {f"column {number + 1}": rows[:, :, number].ravel() for number in range(columns)}
    return history_of(times, values, like.edges if like else ())


def still(world: World, policy: Drift, quarters: int) -> NDArray[np.int64]:
    """The alarms of each of so many quarters in which nothing changes."""
    return np.array([_alarms(quarter(world, policy, seed), policy, seed) for seed in range(SEEDS, SEEDS + quarters)])


def _alarms(one: Quarter, policy: Drift, seed: int) -> int:
    bounds = np.array(list(one.calibrated(policy, seed).thresholds.values()))
    return alarms_of(one.distances(policy) >= bounds, policy)


def delays(world: World, policy: Drift, quarters: int) -> dict[float, list[int | None]]:
    """For each shift, the batches from it to the first alarm about the shifted column in each quarter, None for none."""
    found: dict[float, list[int | None]] = {shift: [] for shift in SHIFTS}
    for seed in range(SEEDS, SEEDS + quarters):
        one = quarter(world, policy, seed)
        bound = one.calibrated(policy, seed).thresholds["column 1"]
        for shift in SHIFTS:
            moved = one.distances(policy, shift)[SHIFTED_FROM:, :1] >= bound
            found[shift].append(_first(moved, policy))
    return found


def _first(moved: NDArray[np.bool_], policy: Drift) -> int | None:
    places = np.flatnonzero(persistent(moved, policy.persistent_batches, policy.of_batches).any(axis=1))
    return int(places[0]) + 1 if len(places) else None


def interval(counts: NDArray[np.int64]) -> tuple[float, float, float]:
    """Their mean and its 95 % interval: normal, or up to 3 / n where all are 0 (the rule of three)."""
    mean, half = float(counts.mean()), 1.96 * float(counts.std()) / math.sqrt(len(counts))
    return (mean, max(0.0, mean - half), mean + half) if counts.any() else (0.0, 0.0, 3 / len(counts))


def tables(quarters: int) -> Iterator[str]:
    """The lines between the markers."""
    alone = replace(POLICY, effect_floor=0.0)
    yield f"{quarters} quarters of {QUARTER_DAYS} batches each, {COLUMNS} columns, {ROWS} rows a day,"
    yield f"{REFERENCE_DAYS} days of reference, and a budget of {alone.false_alarms_per_quarter:g} false alarm a quarter."
    yield "Thresholds from history alone, without an effect floor, which can only raise them:"
    yield ""
    yield "| in a world that stands still | false alarms a quarter (95 %) | quarters with none |"
    yield "|---|---|---|"
    for world in (*WORLDS, *WILDER):
        counts = still(world, alone, quarters)
        mean, low, high = interval(counts)
        name = f"*wilder:* {world.name}" if world in WILDER else world.name
        yield f"| {name} | {mean:.2f} ({low:.2f} to {high:.2f}) | {100 * (counts == 0).mean():.0f} % |"
    yield ""
    yield f"A shift of one of the {COLUMNS} columns, where days differ, with the effect floor of {POLICY.effect_floor}:"
    yield ""
    yield "| shift, in standard deviations | distance it comes to | found within the quarter | batches until the alarm, median (90 %) |"
    yield "|---|---|---|---|"
    for shift, found in delays(WORLDS[1], POLICY, quarters).items():
        seen = [one for one in found if one is not None]
        when = f"{np.median(seen):.0f} ({np.quantile(seen, 0.9):.0f})" if len(seen) > 1 else ""
        yield f"| {shift} | {shift**2:.2f} | {100 * len(seen) / len(found):.1f} % | {when} |"


def draw(path: Path) -> None:
    """One quarter with a shift as a report shows it."""
    one = quarter(WORLDS[1], POLICY, 1)
    calibration = one.calibrated(POLICY, 1)
    results: list[dict[str, Any]] = []
    for number, distances in enumerate(one.distances(POLICY, 0.6)[:50]):
        columns = {
            name: {"psi": float(distance), "threshold": calibration.thresholds[name]}
            for name, distance in zip(one.reference.columns, distances, strict=True)
        }
        results.append({"batch": str(date(2026, 1, 1) + timedelta(days=number)), "columns": columns})
    drift_plot.distances(path, results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quarters", type=int, default=200, help="Quarters of each world.")
    parser.add_argument("--json", action="store_true", help="Print the lines, and change nothing.")
    options = parser.parse_args()
    lines = list(tables(options.quarters))
    if options.json:
        print(json.dumps(lines))
        return
    text = _PAGE.read_text()
    begin, end = "<!-- simulated: begin -->", "<!-- simulated: end -->"
    between = re.compile(f"{begin}.*?{end}", re.DOTALL)
    write_atomically(_PAGE, between.sub(lambda _: "\n".join([begin, *lines, end]), text).encode())
    draw(_PICTURE)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
