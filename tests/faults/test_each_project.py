"""What a producer or a client can get wrong, injected into every project by what its declaration says."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bentos.decoding import Decoder, Refused
from demo.traffic import events_of
from jobs.batch import Batches
from jobs.lake import Lake
from jobs.projects import NAMES, PROJECTS, hook
from jobs.result import Result
from jobs.settings import Settings
from jobs.spec import Project
from jobs.stages import ingest, land
from jobs.storage import current

Row = dict[str, Any]
AFTER, ROWS = timedelta(days=40), 30
each_project = pytest.mark.parametrize("project", PROJECTS.values(), ids=NAMES)


@cache
def events(name: str) -> tuple[Row, ...]:
    """Some events of one day, as a producer writes them."""
    project = PROJECTS[name]
    table: pa.Table = hook(project, "simulate").day(project.start + AFTER, 1, None)[project.sources[0].name]
    kept = table.slice(0, ROWS).to_pylist()
    return tuple({key: _plain(value) for key, value in row.items() if value is not None} for row in kept)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def take_in(project: Project, settings: Settings, files: dict[str, bytes]) -> Result:
    """Lands and ingests; checks that every row of the day is accounted for."""
    day, source = project.start + AFTER, project.sources[0].name
    folder = settings.home / "out"
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    land.run(project, settings, files=[folder / name for name in files], source=source, batch=day.isoformat())
    result = ingest.run(project, settings, batches=Batches(day, day), source=source)
    facts = result.facts
    assert facts["accepted"] + facts["quarantined"] + facts["duplicates"] == facts["delivered"]
    return result


def lines(rows: Sequence[Row]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def quarantined(project: Project, settings: Settings) -> list[Row]:
    day, source = project.start + AFTER, project.sources[0].name
    published = current(Lake(settings.lake_uri).quarantine(project.name, source, day))
    found: list[Row] = pq.read_table(published.paths(), partitioning=None).to_pylist() if published else []
    return found


@each_project
def test_a_good_delivery_is_accepted_whole(project: Project, settings: Settings) -> None:
    result = take_in(project, settings, {"day.jsonl": lines(events(project.name))})
    assert (result.exit_code, result.facts["accepted"]) == (0, ROWS)


@pytest.mark.fault("F25")
@each_project
def test_a_delivery_that_comes_again_by_another_name_changes_nothing(project: Project, settings: Settings) -> None:
    take_in(project, settings, {"day.jsonl": lines(events(project.name))})
    again = take_in(project, settings, {"again.jsonl": lines(events(project.name))})
    assert again.facts["accepted"] == ROWS
    assert quarantined(project, settings) == []


@pytest.mark.fault("F26")
@each_project
def test_equal_events_count_once(project: Project, settings: Settings) -> None:
    rows = events(project.name)
    result = take_in(project, settings, {"day.jsonl": lines([*rows, *rows[:5]])})
    assert (result.facts["accepted"], result.facts["duplicates"]) == (ROWS, 5)


@pytest.mark.fault("F30")
@each_project
def test_every_dropped_column_is_told_by_name(project: Project, settings: Settings) -> None:
    for column in (one for one in project.sources[0].columns if not one.nullable):
        home = settings.home / column.name
        home.mkdir()
        own = settings.model_copy(update={"home": home, "lake_uri": str(home / "lake")})
        header, *rows = _csv(project, {column.name})
        result = take_in(project, own, {"day.csv": "\n".join([header, *rows]).encode()})
        assert result.exit_code == 1
        assert f"column {column.name!r} is missing: expected {column.type}" in result.line
        assert result.facts["accepted"] == 0


def _csv(project: Project, without: set[str]) -> list[str]:
    names = [one.name for one in project.sources[0].columns if not one.nullable and one.name not in without]
    told = [",".join('"' + str(row[name]).replace('"', '""') + '"' for name in names) for row in events(project.name)]
    return [",".join(names), *told]


@pytest.mark.fault("F31")
@each_project
def test_an_added_column_is_said_and_not_kept(project: Project, settings: Settings) -> None:
    result = take_in(project, settings, {"day.jsonl": lines([row | {"mood": "good"} for row in events(project.name)])})
    assert (result.exit_code, result.facts["accepted"]) == (0, ROWS)
    assert result.facts["extra_columns"] == {"mood": 1}


WRONG: dict[str, tuple[str, Callable[[Project], Row]]] = {
    "a missing id": ("missing value", lambda project: {project.sources[0].event_id: ""}),
    "an absurd time": ("absurd date", lambda project: {project.sources[0].event_time: "1900-01-01T00:00:00Z"}),
    "a time to come": (
        "future event",
        lambda project: {project.sources[0].event_time: f"{project.start + AFTER + timedelta(days=1)}T00:00:01Z"},
    ),
    "no time": ("not a timestamp", lambda project: {project.sources[0].event_time: "yesterday"}),
}


@pytest.mark.fault("F28")
@pytest.mark.parametrize("wrong", WRONG)
@each_project
def test_a_bad_value_costs_its_own_row_only(project: Project, settings: Settings, wrong: str) -> None:
    reason, changed = WRONG[wrong]
    rows = list(events(project.name))
    rows[3] = rows[3] | changed(project)
    result = take_in(project, settings, {"day.jsonl": lines(rows)})
    assert (result.exit_code, result.facts["accepted"], result.facts["quarantined"]) == (0, ROWS - 1, 1)
    (row,) = quarantined(project, settings)
    assert (row["line"], row["column"]) == (4, next(iter(changed(project))))
    assert row["reason"].startswith(reason)
    assert json.loads(row["bytes"]) == rows[3]


@pytest.mark.fault("F20")
@each_project
def test_half_a_file_is_kept_apart_and_the_other_goes_on(project: Project, settings: Settings, tmp_path: Path) -> None:
    table: pa.Table = hook(project, "simulate").day(project.start + AFTER, 1, None)[project.sources[0].name]
    pq.write_table(table, tmp_path / "whole.parquet")
    data = (tmp_path / "whole.parquet").read_bytes()
    half = data[: len(data) // 2]
    result = take_in(project, settings, {"half.parquet": half, "day.jsonl": lines(events(project.name))})
    assert (result.exit_code, result.facts["accepted"]) == (1, ROWS)
    assert "half.parquet" in result.line


def refused(project: Project, row: Row) -> Refused:
    source = project.sources[0]
    with pytest.raises(Refused) as caught:
        Decoder(source).decode(json.dumps(row).encode())
    return caught.value


@pytest.mark.fault("F34")
@each_project
def test_a_request_is_told_which_field_is_wrong(project: Project) -> None:
    source = project.sources[0]
    good = events_of(project, project.start + AFTER, 1)[0]
    assert len(Decoder(source).decode(json.dumps(good).encode())[0]) == 1
    for column in (one for one in source.columns if not one.nullable):
        left_out = {name: value for name, value in good.items() if name != column.name}
        for bad in (left_out, good | {column.name: None}, good | {column.name: float("nan")}, good | {column.name: []}):
            found = refused(project, bad)
            assert (found.status, found.body["field"]) == (422, column.name)
    assert refused(project, good | {"mood": "good"}).body["field"] == "mood"
