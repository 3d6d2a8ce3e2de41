"""The made-up network of `ads`: how often it is clicked, how late clicks come, and what the shift is."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from jobs.features import vectors
from jobs.projects import find, hook

ADS = find("ads")
FIRST = date(2026, 3, 1)
WEEK = [FIRST + timedelta(days=day) for day in range(7)]


@cache
def tables(day: date, drift_from: date | None = None) -> dict[str, pa.Table]:
    return dict(hook(ADS, "simulate").day(day, 1, drift_from))


def test_every_click_is_of_an_impression_and_one_in_two_hundred_comes_too_late_to_count() -> None:
    days = [FIRST - timedelta(days=2), FIRST - timedelta(days=1), *WEEK]
    shown = {row["impression_id"]: row["event_time"] for day in days for row in tables(day)["impressions"].to_pylist()}
    waits = [
        row["clicked_at"] - shown[row["impression_id"]] for day in WEEK for row in tables(day)["clicks"].to_pylist()
    ]
    assert min(waits) >= timedelta(0)
    assert max(waits) < timedelta(days=2)
    late = sum(wait > timedelta(days=ADS.label.delay_days) for wait in waits) / len(waits)
    hours = sum(wait > timedelta(hours=1) for wait in waits) / len(waits)
    assert 0 < late < 0.01
    assert 0.1 < hours < 0.2
    clicked = [row["impression_id"] for day in WEEK for row in tables(day)["clicks"].to_pylist()]
    assert len(clicked) == len(set(clicked))


def test_about_seven_in_a_hundred_impressions_are_clicked() -> None:
    rows, clicks = (sum(tables(day)[name].num_rows for day in WEEK) for name in ("impressions", "clicks"))
    assert 7_500 < rows / 7 < 8_500
    assert 0.05 < clicks / rows < 0.09


def test_ads_come_and_go_and_most_users_are_not_seen_twice_a_day() -> None:
    early, late = (set(tables(day)["impressions"]["ad_id"].to_pylist()) for day in (FIRST, FIRST + timedelta(days=30)))
    assert 0.3 < len(late - early) / len(late) < 0.7
    seen = Counter(tables(FIRST)["impressions"]["user_id"].to_pylist())
    assert np.median(list(seen.values())) == 1


def test_after_the_shift_a_device_that_nobody_had_brings_users_that_nobody_knows() -> None:
    before, after = (tables(FIRST, drift_from)["impressions"] for drift_from in (None, FIRST))
    new = set(after["device_id"].to_pylist()) - set(before["device_id"].to_pylist())
    assert new == {"television"}
    users = after.filter(pc.equal(after["device_id"], "television"))["user_id"].to_pylist()
    assert 0.25 < len(users) / after.num_rows < 0.35
    assert not set(users) & {user for day in WEEK for user in tables(day)["impressions"]["user_id"].to_pylist()}
    clicks = [sum(tables(day, drift_from)["clicks"].num_rows for day in WEEK) for drift_from in (None, FIRST)]
    assert clicks[1] < 0.9 * clicks[0]


def request(columns: dict[str, list[Any]], **known: int) -> dict[str, float]:
    """The inputs of impressions, with these values of every view."""
    rows = len(columns["device_id"])
    payload = {name: np.array(values, dtype=object) for name, values in columns.items()}
    payload["event_time"] = np.zeros(rows, dtype=np.int64)
    features = {
        view.name: {name: np.full(rows, known.get(name, 0)) for name in view.features} for view in ADS.every_view
    }
    matrix = hook(ADS, "features").request(payload, features)
    return dict(zip(ADS.models[0].inputs, matrix.T, strict=True))


@pytest.mark.parametrize(
    ("clicks", "known", "rate"), [(0, 0, 0.06), (1, 1, (1 + 3) / 51), (50, 50, 53 / 100), (0, 9_950, 3 / 10_000)]
)
def test_a_rate_is_drawn_to_the_prior_by_how_little_is_known(clicks: int, known: int, rate: float) -> None:
    found = request({"device_id": ["phone"], "os_id": ["ios"], "site_id": ["S1"]}, clicks_28d=clicks, known_28d=known)
    assert found["ad_rate_28d"][0] == pytest.approx(rate, rel=1e-12)


def test_hashing_needs_no_vocabulary_and_tells_columns_apart() -> None:
    found = request({"device_id": ["x", "never seen", "y"], "os_id": ["y", "z", "x"], "site_id": ["S1", "S2", "S1"]})
    buckets = np.array([column for name, column in found.items() if name.startswith("hashed_")])
    assert buckets.shape == (12, 3)
    assert (np.abs(buckets).sum(axis=0) % 2 == 1).all(), "three ids of 1 or -1 each"
    assert (buckets[:, 0] != buckets[:, 2]).any(), "the same two texts in each other's columns are something else"
    assert vectors.payload_names(ADS, ["event_id", "label", "device_id"]) == ["device_id"]
