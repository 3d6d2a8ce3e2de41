"""Times without an offset, in several zones at once, and that no clock ever showed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.batch import Batches
from jobs.lake import Lake
from jobs.settings import Settings
from jobs.stages import ingest
from tests.data.deliveries import FRAUD, Row, csv, deliver, payment, quarantined, rows_of

UNCLEAR = [
    ("America/New_York", "2026-03-08T02:30:00", "never"), ("America/New_York", "2026-11-01T01:30:00", "twice"),
    ("Europe/Zurich", "2026-03-29T02:00:00", "never"), ("Europe/Zurich", "2026-10-25T02:59:59", "twice"),
    ("Australia/Lord_Howe", "2026-10-04T02:15:00", "never"), ("Australia/Lord_Howe", "2026-04-05T01:45:00", "twice"),
]  # fmt: skip


def taken_in(settings: Settings, files: dict[str, bytes], day: date, time_zone: str) -> list[Row]:
    """The day's accepted rows of a producer whose times without an offset are of that zone."""
    source = replace(FRAUD.sources[0], time_zone=time_zone)
    project = replace(FRAUD, sources=(source, *FRAUD.sources[1:]))
    deliver(settings, files, day)
    result = ingest.run(project, settings, batches=Batches(day, day), source=source.name)
    facts = result.facts
    assert facts["accepted"] + facts["quarantined"] == facts["delivered"]
    return rows_of(Lake(settings.lake_uri).raw("fraud", source.name, day))


def typed(path: Path, times: list[str]) -> bytes:
    """The times as Parquet has them without a zone."""
    table = pa.Table.from_pylist([payment(number) for number in range(len(times))])
    naive = pa.array([datetime.fromisoformat(time) for time in times], pa.timestamp("us"))
    pq.write_table(table.set_column(1, "event_time", naive), path)
    return path.read_bytes()


@pytest.mark.fault("F29")
@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize(("time_zone", "time", "shown"), UNCLEAR)
def test_a_local_time_that_clocks_showed_twice_or_never_is_quarantined_and_not_guessed(
    settings: Settings, tmp_path: Path, time_zone: str, time: str, shown: str, form: str
) -> None:
    times = [f"{time[:11]}12:00:00", time]
    rows = [payment(number, event_time=one) for number, one in enumerate(times)]
    data = csv(rows) if form == "csv" else typed(tmp_path / "p", times)
    day = date.fromisoformat(time[:10])
    kept = taken_in(settings, {f"day.{form}": data}, day, time_zone)
    assert [row["transaction_id"] for row in kept] == ["t0"]
    (row,) = quarantined(settings, day)
    assert row["column"] == "event_time"
    assert row["reason"] == f"the clocks of {time_zone} showed this time twice or never", shown


@pytest.mark.fault("F29")
def test_offsets_of_several_zones_in_one_file_are_one_time_line(settings: Settings) -> None:
    same = [
        "2026-10-25T01:30:00Z",
        "2026-10-25T02:30:00+01:00",
        "2026-10-24T20:30:00-05:00",
        "2026-10-25T12:00:00+10:30",
    ]
    rows = [payment(number, event_time=time) for number, time in enumerate(same)]
    kept = taken_in(settings, {"day.csv": csv(rows)}, date(2026, 10, 25), "Europe/Zurich")
    assert {row["event_time"] for row in kept} == {datetime(2026, 10, 25, 1, 30, tzinfo=UTC)}
    assert len(kept) == len(same)


@pytest.mark.fault("F29")
def test_a_time_without_an_offset_is_of_the_zone_that_the_source_declares(settings: Settings) -> None:
    day = date(2026, 7, 1)
    for time_zone, utc in (("UTC", 10), ("America/New_York", 14), ("Europe/Zurich", 8)):
        home = settings.home / time_zone.replace("/", "-")
        home.mkdir()
        own = settings.model_copy(update={"home": home, "lake_uri": str(home / "lake")})
        (kept,) = taken_in(own, {"day.csv": csv([payment(1, event_time="2026-07-01T10:00:00")])}, day, time_zone)
        assert kept["event_time"] == datetime(2026, 7, 1, utc, tzinfo=UTC)
