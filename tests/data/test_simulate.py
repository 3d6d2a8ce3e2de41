"""The producer: the same days are the same bytes, and nothing it delivers is uncounted."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pytest

from demo.traffic import events_of
from jobs.batch import Batches
from jobs.projects.fraud import simulate as town
from jobs.settings import Settings
from jobs.stages import ingest, simulate
from tests.data.deliveries import FRAUD

FIRST = date(2026, 1, 1)
SHIFT = date(2026, 3, 2)
MONTH = [SHIFT + timedelta(days=day) for day in range(28)]


def produce(settings: Settings, out: Path, days: str, **options: bool) -> dict:
    return dict(simulate.run(FRAUD, settings, batches=Batches.parse(days), out=out, **options).facts)


def test_a_day_is_a_pure_function_of_its_arguments() -> None:
    one = town.day(FIRST, 1)
    town._payments.cache_clear()
    town._town.cache_clear()
    assert town.day(FIRST, 1) == one
    assert town.day(FIRST, 2)["transactions"] != one["transactions"]


def test_payments_are_about_four_thousand_a_day_and_one_to_two_percent_frauds() -> None:
    days = [town._payments(day, 1, None) for day in MONTH]
    rows, frauds = sum(len(day.cents) for day in days), sum(int(day.fraud.sum()) for day in days)
    assert 3_600 < rows / 28 < 4_400
    assert 0.01 < frauds / rows < 0.02
    assert sum(int(day.fraud.sum()) for day in days[:7]) > 100
    over = [(day.fraud & (day.cents > 22_000)).sum() / max(1, day.fraud.sum()) for day in days]
    assert sum(over) / 28 < 0.3, "the plain rule must leave most frauds to a model"


def test_after_the_shift_amounts_have_moved_and_small_payments_at_night_are_frauds() -> None:
    before = [town._payments(day, 1, None) for day in MONTH]
    after = [town._payments(day, 1, SHIFT) for day in MONTH]
    mean = [sum(day.cents.sum() for day in days) / sum(len(day.cents) for day in days) for days in (before, after)]
    assert 1.5 < mean[1] / mean[0] < 1.7
    tested = [(day.second <= 6 * 3_600) & (day.cents < 400) for day in after]
    share = sum(int((day.fraud & few).sum()) for day, few in zip(after, tested, strict=True)) / sum(map(sum, tested))
    assert share > 0.6


@pytest.mark.parametrize("drift_from", [None, SHIFT])
def test_every_fraud_is_reported_once_one_to_six_days_later_and_nothing_else_is(drift_from: date | None) -> None:
    paid = {
        (f"{day:%Y%m%d}{place:06d}"): day
        for day in MONTH
        for place in town._payments(day, 1, drift_from).fraud.nonzero()[0]
    }
    reported: Counter[str] = Counter()
    for day in [MONTH[0] + timedelta(days=offset) for offset in range(35)]:
        for row in town.day(day, 1, drift_from)["fraud_reports"].to_pylist():
            assert row["reported_at"].date() == day
            if row["transaction_id"] in paid:
                reported[row["transaction_id"]] += 1
                assert 1 <= (day - paid[row["transaction_id"]]).days <= 6
    assert reported == Counter(dict.fromkeys(paid, 1))


def test_the_demos_clients_send_the_days_payments() -> None:
    table, requests = town.day(SHIFT, 1, SHIFT)["transactions"], events_of(FRAUD, SHIFT, 1, SHIFT)
    assert [row["transaction_id"] for row in requests] == table["transaction_id"].to_pylist()
    assert set(requests[0]) == {"transaction_id", "event_time", "customer_id", "terminal_id", "amount_cents"}
    assert requests[0]["event_time"].startswith("2026-03-02T")
    assert requests[0]["event_time"].endswith("Z")


def test_one_call_or_many_write_the_same_files(settings: Settings, tmp_path: Path) -> None:
    produce(settings, tmp_path / "one", "2026-02-25..2026-03-05", mishaps=True)
    produce(settings, tmp_path / "many", "2026-02-25..2026-03-01", mishaps=True)
    produce(settings, tmp_path / "many", "2026-03-02..2026-03-05", mishaps=True)
    written = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*-2026-*")}
        for folder in (tmp_path / "one", tmp_path / "many")
    ]
    assert written[0] == written[1]
    assert {path.suffix for path in written[0]} >= {".csv"}


def test_a_shift_lasts_in_the_calls_that_follow(settings: Settings, tmp_path: Path) -> None:
    assert produce(settings, tmp_path, "2026-03-01")["drift_from"] is None
    assert produce(settings, tmp_path, "2026-03-02..2026-03-03", drift=True)["drift_from"] == "2026-03-02"
    assert produce(settings, tmp_path, "2026-03-04")["drift_from"] == "2026-03-02"


def test_what_the_producer_says_it_delivered_is_what_ingest_finds(settings: Settings, tmp_path: Path) -> None:
    made = produce(settings, tmp_path / "out", "2026-01-01..2026-01-20", mishaps=True, deliver=True)
    found = ingest.run(FRAUD, settings, batches=Batches.parse("2026-01-01..2026-01-20")).facts
    assert found["delivered"] == made["rows"]
    assert found["quarantined"] == made["malformed_rows"] > 0
    assert found["duplicates"] == made["duplicated_rows"] + made["rows_of_duplicated_files"]
    assert made["duplicated_files"] > 0
    late = sum(rows for batch in found["batches"] for day, rows in batch["event_days"].items() if day != batch["batch"])
    assert 0 < late <= made["late_rows"]
