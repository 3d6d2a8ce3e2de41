"""Thresholds that come from the reference's own days, and a budget of false alarms that they keep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import DataRejected, SpecError
from jobs.monitoring.alarms import events, persistent
from jobs.monitoring.calibration import SAFETY, Calibration, calibrate
from jobs.monitoring.quarters import QUARTER_DAYS, History, history_of, quarters, watched
from jobs.projects.fraud.spec import FRAUD
from jobs.spec import Drift
from tests.simulation import drift as simulated

DAY = 86_400_000_000
POLICY = Drift(window_days=3, minimum_rows=500, cool_down_days=7, effect_floor=0.0)


def history(days: int = 35, rows: int = 400, columns: int = 4, spread: float = 0.0, weekend: float = 0.0,
            seed: int = 3) -> History:  # fmt: skip
    random = np.random.default_rng(seed)
    means = spread * random.normal(size=(days, 1, columns))
    means += np.where(np.arange(days)[:, None, None] % 7 >= 5, weekend, 0.0)
    values = random.normal(size=(days, rows, columns)) + means
    times = np.repeat(np.arange(20_000, 20_000 + days) * DAY, rows)
    return history_of(times, {f"c{number}": values[:, :, number].ravel() for number in range(columns)})


def calibrated(one: History, policy: Drift = POLICY, rows: int = 400, count: int = 60) -> Calibration:
    return calibrate(one, policy, numbers=dict.fromkeys(one.columns, rows), window_days=3, count=count)


def middle(calibration: Calibration) -> float:
    return float(np.median(list(calibration.thresholds.values())))


def test_days_that_differ_more_raise_the_threshold_and_the_effect_floor_is_its_least() -> None:
    alike, apart = calibrated(history()), calibrated(history(spread=0.3))
    assert middle(apart) > 3 * middle(alike)
    assert set(calibrated(history(), replace(POLICY, effect_floor=0.2)).thresholds.values()) == {0.2}
    assert apart.false_alarms <= SAFETY


def test_weekends_that_differ_are_no_deviation_because_weekdays_are_matched() -> None:
    assert middle(calibrated(history(weekend=1.0))) < 1.5 * middle(calibrated(history()))


def test_fewer_rows_a_day_raise_the_threshold() -> None:
    assert middle(calibrated(history(), rows=60)) > 2 * middle(calibrated(history()))


@pytest.mark.parametrize("budget", [0.2, 5.0])
def test_a_smaller_budget_means_higher_thresholds(budget: float) -> None:
    one, usual = history(spread=0.3, columns=20), replace(POLICY, false_alarms_per_quarter=1.0)
    other = calibrated(one, replace(POLICY, false_alarms_per_quarter=budget))
    assert (middle(other) >= middle(calibrated(one, usual))) is (budget < 1)
    assert other.false_alarms <= SAFETY * budget


def test_the_same_reference_and_seed_give_the_same_thresholds() -> None:
    assert calibrated(history(spread=0.1)).thresholds == calibrated(history(spread=0.1)).thresholds


def test_two_weeks_of_reference_are_the_least() -> None:
    with pytest.raises(DataRejected, match="13 days of reference, of 14 needed"):
        calibrated(history(days=13))
    assert calibrated(history(days=14)).days == 14


def test_a_short_reference_knows_less_and_allows_more() -> None:
    short, long = (calibrated(history(days=days, spread=0.3, seed=1)) for days in (14, 70))
    assert middle(short) > 2 * middle(long)


def test_made_up_quarters_differ_as_the_reference_does_and_keep_what_columns_have_in_common() -> None:
    random = np.random.default_rng(5)
    means = 0.3 * random.normal(size=(35, 1))
    one = random.normal(size=(35, 400)) + means
    times = np.repeat(np.arange(20_000, 20_035) * DAY, 400)
    same = history_of(times, {"a": one.ravel(), "b": 2 * one.ravel(), "c": random.normal(size=35 * 400)})
    numbers = np.full(3, 400.0)
    made = np.concatenate(list(quarters(same, numbers, window_days=3, minimum_rows=500, count=60, seed=1)))
    assert made.shape == (60 * QUARTER_DAYS, 3)
    ranks = np.log(made)
    assert np.corrcoef(ranks[:, 0], ranks[:, 1])[0, 1] > 0.5
    assert abs(np.corrcoef(ranks[:, 0], ranks[:, 2])[0, 1]) < 0.2
    true = watched(same.counts, same.weekday, same.counts, same.weekday, same.used, 3, 500)
    assert 0.5 < np.median(made[:, 0]) / np.median(true[:, 0]) < 3


def test_a_column_without_numbers_on_some_days_is_calibrated_on_the_others() -> None:
    times = np.repeat(np.arange(20_000, 20_035) * DAY, 100)
    values = np.random.default_rng(1).normal(size=3_500)
    values[:500] = np.nan
    assert np.isfinite(calibrated(history_of(times, {"a": values, "b": np.ones(3_500)})).null).all()


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 4), st.integers(1, 5), st.integers(0, 9))
def test_an_alarm_lasts_and_is_counted_once_in_a_cool_down(
    moved: list[bool], needed: int, of: int, cool_down: int
) -> None:
    found = persistent(np.array(moved, dtype=bool), needed, of)
    for batch, alarm in enumerate(found):
        assert alarm == (moved[batch] and sum(moved[max(0, batch - of + 1) : batch + 1]) >= needed)
    counted = events(found, cool_down)
    assert (counted > 0) == found.any()
    assert counted <= -(-len(moved) // max(cool_down, 1))


def test_quarters_that_stand_still_keep_the_budget_and_a_shift_is_found() -> None:
    """A small version of `python -m tests.simulation.drift`, whose worlds and seeds it has."""
    counts = np.concatenate([simulated.still(world, POLICY, 8) for world in simulated.WORLDS[:4]])
    assert counts.mean() <= POLICY.false_alarms_per_quarter
    found = simulated.delays(simulated.WORLDS[1], simulated.POLICY, 8)
    assert all(delay is not None and delay <= 6 for delay in found[1.0])


def test_impossible_policies_are_refused_with_every_fault_at_once() -> None:
    wrong = Drift(window_days=0, minimum_rows=500, cool_down_days=-1, false_alarms_per_quarter=0, effect_floor=-0.1,
                  persistent_batches=4, of_batches=3)  # fmt: skip
    with pytest.raises(SpecError) as raised:
        replace(FRAUD, drift=wrong)
    for fault in (
        "window_days 0",
        "false_alarms_per_quarter 0",
        "effect_floor -0.1",
        "for 4 of the last 3",
        "cool_down_days -1",
    ):
        assert fault in str(raised.value)
