"""Clocks that jump and zones that change: each UTC day has one run, and no interval is negative."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import time_machine
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from jobs.batch import Batches, day_end, day_start
from jobs.errors import UsageError
from jobs.projects import PROJECTS
from jobs.rollout.watch import seconds_since
from jobs.settings import ROOT, Settings
from jobs.stages import land
from tests.dags.airflow_here import ORCHESTRATE
from tests.data.deliveries import FRAUD, csv, payment

PROJECT = next(iter(PROJECTS.values()))
ZONES = ("UTC", "America/New_York", "Europe/Zurich", "Australia/Lord_Howe")
SPANS = [("2026-01-01T00:00:00+00:00", "2027-02-05T00:00:00+00:00"),  # both changes of each zone, the end of a year
         ("2028-02-27T00:00:00+00:00", "2028-03-02T00:00:00+00:00")]  # a leap day # fmt: skip
CLOCKS = {
    "as it should": ["2026-03-08T00:00:01", "2026-03-08T12:00:00", "2026-03-09T00:00:01"],
    "back an hour at midnight": ["2026-03-08T00:00:01", "2026-03-07T23:00:01", "2026-03-08T00:00:01", "2026-03-09T00:00:01"],
    "ahead an hour and back": ["2026-03-08T00:30:00", "2026-03-08T23:30:00", "2026-03-09T00:30:00", "2026-03-08T23:40:00",
                               "2026-03-09T00:00:01"],
    "over the end of a year": ["2026-12-31T00:00:01", "2027-01-01T00:00:01", "2026-12-31T23:00:01", "2027-01-01T00:10:00"],
}  # fmt: skip


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Airflow's own timetable answers for the project's data DAG."""
    asked = {
        "dag": f"{PROJECT.name}_data", "zones": ZONES, "spans": SPANS, "start": SPANS[0][0],
        "clocks": [[f"{now}+00:00" for now in clock] for clock in CLOCKS.values()],
    }  # fmt: skip
    home = tmp_path_factory.mktemp("clocks")
    environment = {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "PYTHONPATH": str(ROOT),
                   "PATH": os.environ["PATH"]}  # fmt: skip
    command = [ORCHESTRATE / "python", Path(__file__).with_name("dump_clocks.py"), ROOT / "dags", json.dumps(asked)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


@pytest.mark.fault("F17")
@pytest.mark.parametrize("zone", ZONES)
def test_each_utc_day_has_one_run_wherever_the_machine_believes_to_be(seen: dict[str, Any], zone: str) -> None:
    for (first, last), intervals in zip(SPANS, seen["days"][zone], strict=True):
        wanted = list(Batches(date.fromisoformat(first[:10]), date.fromisoformat(last[:10])))
        assert [(day_start(day).isoformat(), day_end(day).isoformat()) for day in wanted] == [
            tuple(one) for one in intervals
        ]
        assert len({start for start, _ in intervals}) == len(wanted)


@pytest.mark.fault("F17")
@pytest.mark.parametrize("zone", ZONES)
def test_a_batch_is_due_after_its_day_is_over_and_before_the_next_is(seen: dict[str, Any], zone: str) -> None:
    for text, due in seen["due"][zone].items():
        day = date.fromisoformat(text)
        assert day_end(day) <= datetime.fromisoformat(due) < day_end(day + timedelta(days=1))
    assert seen["due"][zone] == seen["due"]["UTC"]


@pytest.mark.fault("F16")
@pytest.mark.parametrize("clock", CLOCKS)
def test_a_scheduler_whose_clock_jumps_makes_each_day_once_and_in_order(seen: dict[str, Any], clock: str) -> None:
    runs = seen["clocks"][list(CLOCKS).index(clock)]
    starts = [datetime.fromisoformat(start) for _, start, _ in runs]
    ends = [datetime.fromisoformat(end) for _, _, end in runs]
    assert all(end - start == timedelta(days=1) for start, end in zip(starts, ends, strict=True))
    assert starts == [starts[0] + timedelta(days=number) for number in range(len(starts))]
    assert len(starts) == 2


@pytest.mark.fault("F16")
@examples(deadline=None)
@given(first=st.dates(date(1970, 1, 2), date(2199, 11, 1)), length=st.integers(0, 60))
def test_a_range_has_each_day_once_and_days_meet_at_midnight(first: date, length: int) -> None:
    last = first + timedelta(days=length)
    days = list(Batches.parse(f"{first}..{last}"))
    assert days[0] == first
    assert (days[-1], len(set(days))) == (last, length + 1)
    assert all(day_end(day) == day_start(after) for day, after in pairwise(days))
    assert all((day_end(day) - day_start(day)) == timedelta(hours=24) for day in days)


@pytest.mark.fault("F16")
def test_the_leap_day_is_a_day_and_in_other_years_none() -> None:
    assert [str(day) for day in Batches.parse("2028-02-28..2028-03-01")] == ["2028-02-28", "2028-02-29", "2028-03-01"]
    with pytest.raises(UsageError, match="is not a UTC day"):
        Batches.parse("2026-02-29")


@pytest.mark.fault("F16")
@pytest.mark.parametrize("zone", ZONES)
def test_what_has_no_day_in_its_name_is_of_the_utc_day_around_the_end_of_a_year(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    found = []
    for now in ("2026-12-31T23:59:59", "2027-01-01T00:00:00", "2026-12-31T23:00:00"):
        path = tmp_path / f"{len(found)}.csv"
        path.write_bytes(csv([payment(len(found))]))
        with time_machine.travel(datetime.fromisoformat(now).replace(tzinfo=UTC), tick=False):
            found += land.run(FRAUD, settings, files=[path], source="transactions").facts["batches"]
    assert found == ["2026-12-31", "2027-01-01", "2026-12-31"]


@pytest.mark.fault("F16")
def test_a_step_whose_clock_goes_back_has_waited_no_time_yet_and_no_less() -> None:
    began = "2026-03-08T06:30:00+00:00"
    with time_machine.travel(datetime.fromisoformat("2026-03-08T05:30:00+00:00"), tick=False):
        assert seconds_since(began) == 0
    with time_machine.travel(datetime.fromisoformat("2026-03-08T06:31:00+00:00"), tick=False):
        assert seconds_since(began) == 60
    assert seconds_since(None) == 0
