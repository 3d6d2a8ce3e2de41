"""What a producer or a client can get wrong, injected into every project by what its declaration says."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from bentos.decoding import Decoder, Refused
from demo.traffic import events_of
from jobs.projects import NAMES, PROJECTS
from jobs.settings import Settings
from jobs.spec import Project
from tests.data.simulated import Row, csv, day_of, events, lines, parquet, quarantined, tables, take_in

ROWS = 30
each_project = pytest.mark.parametrize("project", PROJECTS.values(), ids=NAMES)


@each_project
def test_a_good_delivery_is_accepted_whole(project: Project, settings: Settings) -> None:
    result = take_in(project, settings, {"day.jsonl": lines(events(project.name, ROWS))})
    assert (result.exit_code, result.facts["accepted"]) == (0, ROWS)


@pytest.mark.fault("F25")
@each_project
def test_a_delivery_that_comes_again_by_another_name_changes_nothing(project: Project, settings: Settings) -> None:
    take_in(project, settings, {"day.jsonl": lines(events(project.name, ROWS))})
    again = take_in(project, settings, {"again.jsonl": lines(events(project.name, ROWS))})
    assert again.facts["accepted"] == ROWS
    assert quarantined(project, settings) == []


@pytest.mark.fault("F26")
@each_project
def test_equal_events_count_once(project: Project, settings: Settings) -> None:
    rows = events(project.name, ROWS)
    result = take_in(project, settings, {"day.jsonl": lines([*rows, *rows[:5]])})
    assert (result.facts["accepted"], result.facts["duplicates"]) == (ROWS, 5)


@pytest.mark.fault("F30")
@each_project
def test_every_dropped_column_is_told_by_name(project: Project, settings: Settings) -> None:
    for column in (one for one in project.sources[0].columns if not one.nullable):
        home = settings.home / column.name
        home.mkdir()
        own = settings.model_copy(update={"home": home, "lake_uri": str(home / "lake")})
        result = take_in(project, own, {"day.csv": csv(project, events(project.name, ROWS), {column.name})})
        assert result.exit_code == 1
        assert f"column {column.name!r} is missing: expected {column.type}" in result.line
        assert result.facts["accepted"] == 0


@pytest.mark.fault("F31")
@each_project
def test_an_added_column_is_said_and_not_kept(project: Project, settings: Settings) -> None:
    result = take_in(
        project, settings, {"day.jsonl": lines([row | {"mood": "good"} for row in events(project.name, ROWS)])}
    )
    assert (result.exit_code, result.facts["accepted"]) == (0, ROWS)
    assert result.facts["extra_columns"] == {"mood": 1}


WRONG: dict[str, tuple[str, Callable[[Project], Row]]] = {
    "a missing id": ("missing value", lambda project: {project.sources[0].event_id: ""}),
    "an absurd time": ("absurd date", lambda project: {project.sources[0].event_time: "1900-01-01T00:00:00Z"}),
    "a time to come": (
        "future event",
        lambda project: {project.sources[0].event_time: f"{day_of(project) + timedelta(days=1)}T00:00:01Z"},
    ),
    "no time": ("not a timestamp", lambda project: {project.sources[0].event_time: "yesterday"}),
}


@pytest.mark.fault("F28")
@pytest.mark.parametrize("wrong", WRONG)
@each_project
def test_a_bad_value_costs_its_own_row_only(project: Project, settings: Settings, wrong: str) -> None:
    reason, changed = WRONG[wrong]
    rows = list(events(project.name, ROWS))
    rows[3] = rows[3] | changed(project)
    result = take_in(project, settings, {"day.jsonl": lines(rows)})
    assert (result.exit_code, result.facts["accepted"], result.facts["quarantined"]) == (0, ROWS - 1, 1)
    (row,) = quarantined(project, settings)
    assert (row["line"], row["column"]) == (4, next(iter(changed(project))))
    assert row["reason"].startswith(reason)
    assert json.loads(row["bytes"]) == rows[3]


@pytest.mark.fault("F20")
@each_project
def test_half_a_file_is_kept_apart_and_the_other_goes_on(project: Project, settings: Settings) -> None:
    data = parquet(tables(project.name)[project.sources[0].name])
    half = data[: len(data) // 2]
    result = take_in(project, settings, {"half.parquet": half, "day.jsonl": lines(events(project.name, ROWS))})
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
    good = events_of(project, day_of(project), 1)[0]
    assert len(Decoder(source).decode(json.dumps(good).encode())[0]) == 1
    for column in (one for one in source.columns if not one.nullable):
        left_out = {name: value for name, value in good.items() if name != column.name}
        for bad in (left_out, good | {column.name: None}, good | {column.name: float("nan")}, good | {column.name: []}):
            found = refused(project, bad)
            assert (found.status, found.body["field"]) == (422, column.name)
    assert refused(project, good | {"mood": "good"}).body["field"] == "mood"
