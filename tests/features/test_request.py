"""From a payment and stored integers to the model's inputs."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from jobs.projects.fraud.features import request, rule
from jobs.projects.fraud.spec import CUSTOMER, INPUTS, TERMINAL


def micros(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def features(rows: int, seed: int = 1) -> dict[str, dict[str, np.ndarray]]:
    random = np.random.default_rng(seed)
    return {
        view.name: {name: random.integers(0, 5_000_000, rows) * (random.random(rows) < 0.8) for name in view.features}
        | {"found": random.random(rows) < 0.5}
        for view in (CUSTOMER, TERMINAL)
    }


def payments(rows: int, seed: int = 2) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "event_time": random.integers(micros("2018-04-01"), micros("2026-04-01"), rows),
        "amount_cents": random.integers(0, 1_000_000, rows),
        "customer_id": np.array([str(i) for i in range(rows)], dtype=object),
        "terminal_id": np.array(["t"] * rows, dtype=object),
    }


def one(payload: dict[str, int], stored: dict[str, dict[str, int]]) -> dict[str, float]:
    arrays = {name: np.array([value]) for name, value in payload.items()}
    views = {name: {key: np.array([value]) for key, value in view.items()} for name, view in stored.items()}
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


def test_averages_and_risks_come_from_sums_and_counts() -> None:
    customer = dict(zip(CUSTOMER.features, (2, 3_000, 4, 10_000, 10, 50_000), strict=True)) | {"found": 1}
    terminal = dict(zip(TERMINAL.features, (4, 1, 10, 5, 0, 0), strict=True)) | {"found": 1}
    row = one(
        {"event_time": micros("2026-01-05T12:00"), "amount_cents": 12_345},
        {"customer": customer, "terminal": terminal},
    )
    assert row["amount"] == 123.45
    assert [row[f"customer_mean_amount_{days}d"] for days in (1, 7, 30)] == [15.0, 25.0, 50.0]
    assert [row[f"customer_count_{days}d"] for days in (1, 7, 30)] == [2, 4, 10]
    assert [row[f"terminal_risk_{days}d"] for days in (1, 7, 30)] == [0.25, 0.5, 0]
    assert row["amount_over_mean_30d"] == pytest.approx(2.469)


def test_an_unknown_customer_and_terminal_have_no_history() -> None:
    nothing = {"customer": dict.fromkeys(CUSTOMER.features, 0), "terminal": dict.fromkeys(TERMINAL.features, 0)}
    row = one({"event_time": micros("2026-01-05T12:00"), "amount_cents": 500}, nothing)
    assert {name for name, value in row.items() if value} == {"amount"}


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
    nothing = {"customer": dict.fromkeys(CUSTOMER.features, 0), "terminal": dict.fromkeys(TERMINAL.features, 0)}
    row = one({"event_time": micros(when), "amount_cents": 1}, nothing)
    assert (row["is_weekend"], row["is_night"]) == (weekend, night)


def test_the_rule_holds_back_amounts_over_220() -> None:
    assert rule({"amount_cents": np.array([0, 22_000, 22_001])}).tolist() == [False, False, True]
