"""From a payment and stored integers to the model's inputs."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from jobs.projects.fraud.features import NO_GENUINE_DAY, request, rule
from jobs.projects.fraud.spec import FRAUD, INPUTS


def micros(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def features(rows: int, seed: int = 1) -> dict[str, dict[str, np.ndarray]]:
    random = np.random.default_rng(seed)
    return {
        view.name: {name: random.integers(0, 5_000_000, rows) * (random.random(rows) < 0.8) for name in view.features}
        | {"found": random.random(rows) < 0.5}
        for view in FRAUD.every_view
    }


def payments(rows: int, seed: int = 2) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "event_time": random.integers(micros("2018-04-01"), micros("2026-04-01"), rows),
        "amount_cents": random.integers(0, 1_000_000, rows),
        "customer_id": np.array([str(i) for i in range(rows)], dtype=object),
        "terminal_id": np.array(["t"] * rows, dtype=object),
    }


def one(payload: dict[str, int], features: dict[str, dict[str, int]]) -> dict[str, float]:
    arrays = {name: np.array([value]) for name, value in payload.items()}
    views = {name: {key: np.array([value]) for key, value in view.items()} for name, view in features.items()}
    (row,) = request(arrays, views)
    return dict(zip(INPUTS, row, strict=True))


def test_a_row_alone_gives_the_same_bits_as_inside_a_batch() -> None:
    rows = 257
    payload, views = payments(rows), features(rows)
    together = request(payload, views)
    assert together.shape == (rows, len(INPUTS))
    assert np.isfinite(together).all()
    for index in range(rows):
        part = slice(index, index + 1)
        alone = request(
            {name: column[part] for name, column in payload.items()},
            {view: {name: column[part] for name, column in columns.items()} for view, columns in views.items()},
        )
        assert alone.tobytes() == together[index].tobytes()


def stored(**known: dict[str, int]) -> dict[str, dict[str, int]]:
    """What the views hold: nothing but what is given."""
    return {
        view.name: dict.fromkeys((*view.features, "found"), 0) | known.get(view.name, {}) for view in FRAUD.every_view
    }


def test_averages_and_risks_come_from_sums_and_counts() -> None:
    noon = {"event_time": micros("2026-01-05T12:00"), "amount_cents": 12_345}
    row = one(
        noon,
        stored(
            customer={
                "count_1d": 2, "amount_cents_1d": 3_000, "count_7d": 4, "amount_cents_7d": 10_000,
                "count_30d": 10, "amount_cents_30d": 50_000, "largest_cents_7d": 6_000,
                "genuine_23d": 5, "genuine_cents_23d": 20_000,
            },
            customer_profile={"count_30d": 9, "amount_cents_30d": 45_000},
            terminal={
                "count_1d": 4, "frauds_1d": 1, "count_7d": 10, "frauds_7d": 5,
                "count_21d": 20, "small_frauds_21d": 4, "last_small_fraud_21d": 1,
                "last_genuine_day_21d": micros("2026-01-05") // 86_400_000_000 - 9,
            },
        ),
    )  # fmt: skip
    assert row["amount"] == 123.45
    assert [row[f"customer_mean_amount_{days}d"] for days in (1, 7, 30)] == [15.0, 25.0, 50.0]
    assert [row[f"customer_count_{days}d"] for days in (1, 7, 30)] == [2, 4, 10]
    assert [row[f"terminal_risk_{days}d"] for days in (1, 7, 30)] == [0.25, 0.5, 0]
    assert row["amount_over_mean_30d"] == pytest.approx(2.469)
    assert row["amount_over_usual"] == pytest.approx(12_345 / 4_000)
    assert row["largest_7d_over_usual"] == 1.5
    assert row["terminal_small_fraud_share_21d"] == 0.2
    assert row["terminal_last_is_small_fraud"] == 1
    assert row["terminal_days_since_genuine"] == 9
    assert one(noon | {"amount_cents": 22_000}, stored())["is_large"] == 0
    assert one(noon | {"amount_cents": 22_001}, stored())["is_large"] == 1


def test_an_unknown_customer_and_terminal_have_no_history() -> None:
    row = one({"event_time": micros("2026-01-05T12:00"), "amount_cents": 500}, stored())
    assert {name: value for name, value in row.items() if value} == {
        "amount": 5, "terminal_days_since_genuine": NO_GENUINE_DAY
    }  # fmt: skip


@pytest.mark.parametrize(
    ("when", "weekend", "night"),
    [
        ("2026-01-02T23:59:59", 0, 0),  # a Friday
        ("2026-01-03T00:00:00", 1, 1),  # a Saturday
        ("2026-01-04T06:59:59", 1, 1),
        ("2026-01-04T07:00:00", 1, 0),
        ("2026-01-05T00:00:00", 0, 1),  # a Monday
        ("1969-12-28T12:00:00", 1, 0),  # a Sunday before the epoch
    ],
)
def test_weekends_and_nights_are_utc(when: str, weekend: int, night: int) -> None:
    row = one({"event_time": micros(when), "amount_cents": 1}, stored())
    assert (row["is_weekend"], row["is_night"]) == (weekend, night)


def test_the_rule_holds_back_amounts_over_220() -> None:
    assert rule({"amount_cents": np.array([0, 22_000, 22_001])}).tolist() == [False, False, True]
