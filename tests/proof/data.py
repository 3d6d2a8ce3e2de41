"""Bad data: deliveries that never become features, made from a project's first source and its expectations."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs import expectations
from jobs.batch import Batches, day_start
from jobs.ingest.columns import ARROW
from jobs.lake import Lake
from jobs.result import Result
from jobs.settings import Settings
from jobs.spec import Project
from jobs.stages import validate
from jobs.storage import current, publish
from tests.data.simulated import csv, day_of, events, lines, parquet, quarantined, required, tables, take_in
from tests.proof.case import SEED, Case, Seen, taken_away
from tests.proof.home import Home
from tests.proof.world import changed

ROWS = 400
Expectation = dict[str, Any]
Break = Callable[[pa.Table, Mapping[str, Any]], pa.Table]


def _accepted(project: Project, settings: Settings) -> int:
    published = current(Lake(settings.lake_uri).raw(project.name, project.sources[0].name, day_of(project)))
    return published.manifest.rows if published else 0


def _seen(project: Project, settings: Settings, result: Result, guard: str) -> Seen:
    """Caught when nothing of the delivery was taken."""
    reasons = sorted({str(row["reason"]) for row in quarantined(project, settings)})
    return Seen(
        caught=not _accepted(project, settings), stage="ingest", guard=guard, said=reasons[0] if reasons else result.line,
        after=f"{ROWS} delivered rows",
    )  # fmt: skip


def _last_column(project: Project) -> str:
    source = project.sources[0]
    return [name for name in required(project) if name not in (source.event_id, source.event_time)][-1]


def _dropped(home: Home, guarded: bool) -> Seen:
    project, settings = home.project, home.empty()
    data = csv(project, events(home.name, ROWS), {_last_column(project)})
    return _seen(project, settings, take_in(project, settings, {"day.csv": data}), "schema")


def _retyped(home: Home, guarded: bool) -> Seen:
    """A text arrives as numbers, and everything else as text."""
    project, settings, name = home.project, home.empty(), _last_column(home.project)
    table = tables(home.name)[project.sources[0].name].slice(0, ROWS)
    other = np.arange(len(table)) if pa.types.is_string(table[name].type) else np.asarray(table[name]).astype(str)
    result = take_in(project, settings, {"day.parquet": parquet(changed(table, name, other))})
    return _seen(project, settings, result, "schema")


def _milliseconds(home: Home, guarded: bool) -> Seen:
    project, settings = home.project, home.empty()
    start, time = int(day_start(day_of(project)).timestamp() * 1_000), project.sources[0].event_time
    rows = [row | {time: f"{start + number}"} for number, row in enumerate(events(home.name, ROWS))]
    return _seen(project, settings, take_in(project, settings, {"day.csv": csv(project, rows)}), "event time")


def _twice(home: Home, guarded: bool) -> Seen:
    """Caught when the second delivery adds nothing."""
    project, settings, data = home.project, home.empty(), lines(events(home.name, ROWS))
    take_in(project, settings, {"day.jsonl": data})
    result = take_in(project, settings, {"again.jsonl": data})
    said = f"{result.facts['duplicates']} of {ROWS} rows were there already"
    return Seen(
        caught=_accepted(project, settings) == ROWS, stage="ingest", guard="duplicates", said=said,
        after=f"{ROWS} delivered rows",
    )  # fmt: skip


def _half_a_file(home: Home, guarded: bool) -> Seen:
    project, settings = home.project, home.empty()
    data = parquet(tables(home.name)[project.sources[0].name].slice(0, ROWS))
    return _seen(
        project, settings, take_in(project, settings, {"day.parquet": data[: len(data) // 2]}), "file"
    )  # fmt: skip


def _suite(project: Project, table: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(expectations.suite_file(project.name, table).read_bytes())
    return found


def _clean(project: Project, name: str) -> pa.Table:
    """A day as the cleaning publishes it: the columns that its expectations name, null where nobody delivers them."""
    (order,) = (one["kwargs"]["column_list"] for one in _suite(project, name)["expectations"] if "column_list" in one["kwargs"])  # fmt: skip
    table, types = tables(project.name)[name], {one.name: ARROW[one.type] for one in project.source(name).columns}
    columns = {column: table[column] if column in table.column_names else pa.nulls(len(table), types[column]) for column in order}  # fmt: skip
    return pa.table(columns)


def _first(project: Project, kind: str) -> Expectation | None:
    """The first expectation of that kind on the first table."""
    suite = _suite(project, project.tables[0])["expectations"]
    return next((one for one in suite if one["type"] == kind), None)


def _validated(home: Home, table: pa.Table, without: Expectation | None = None, more: Expectation | None = None) -> Seen:  # fmt: skip
    """What the expectations say of a day; with one fewer, or one more, where that is asked."""
    project, settings, root, day = home.project, home.empty(), expectations.ROOT, day_of(home.project)
    for name in project.tables:
        rows = table if name == project.tables[0] else _clean(project, name)

        def write(folder: Path, rows: pa.Table = rows) -> int:
            pq.write_table(rows, folder / "part-00000.parquet")
            return len(rows)

        publish(Lake(settings.lake_uri).clean(home.name, name, day), write, inputs={"a": "b"}, watermark=str(day))
    if without or more:
        root = settings.home / "other"
        for name in project.tables:
            suite = _suite(project, name)
            if name == project.tables[0]:
                suite["expectations"] = [one for one in suite["expectations"] if one != without] + [more] * bool(more)
            path = root / "expectations" / home.name / f"{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(suite))
    with taken_away((expectations, "ROOT", root)):
        result = validate.run(project, settings, batches=Batches(day, day))
    failures = result.facts["failures"].get(str(day), [])
    first = failures[0].split(": ", 2) if failures else ["", "", ""]
    return Seen(
        caught=result.exit_code == 1, stage="validate", guard=first[1], said=": ".join(failures[:1]) or result.line,
        after=f"{len(table):,} rows of one day",
    )  # fmt: skip


def _most_is_missing(table: pa.Table, of: Mapping[str, Any]) -> pa.Table:
    kept = np.random.default_rng(SEED).permutation(len(table))[: of["min_value"] - 1]
    return table.take(pa.array(np.sort(kept)))


def _twice_the_same(table: pa.Table, of: Mapping[str, Any]) -> pa.Table:
    column = np.asarray(table[of["column"]]).copy()
    column[1] = column[0]
    return changed(table, of["column"], column)


def _all_one(table: pa.Table, of: Mapping[str, Any]) -> pa.Table:
    place = table.column_names.index(of["column"])
    one = pa.array([table.column(place)[0].as_py()] * len(table), table.schema.field(place).type)
    return table.set_column(place, of["column"], one)


def _a_hundredth(table: pa.Table, of: Mapping[str, Any]) -> pa.Table:
    return changed(table, of["column"], np.asarray(table[of["column"]]) // 100)


def _raising(home: Home, guarded: bool) -> Seen:
    gone = {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "gone"}}
    return _validated(home, _clean(home.project, home.project.tables[0]), more=gone)


def _broken(project: Project, name: str, done: str, kind: str, breaks: Break, removed: str) -> Case[Home]:
    """A day that breaks the first expectation of a kind, and passes without that expectation."""

    def run(home: Home, guarded: bool) -> Seen:
        expectation = _first(home.project, kind)
        assert expectation is not None
        table = breaks(_clean(home.project, home.project.tables[0]), expectation["kwargs"])
        return _validated(home, table, None if guarded else expectation)

    why_not = "" if _first(project, kind) else f"does not apply: the first table's suite has no {kind}"
    return Case(name=name, done=done, stages=("validate",), guards=(kind,), run=run, removed=removed, why_not=why_not)


def ingested(_project: Project) -> tuple[Case[Home], ...]:
    """What the source's declaration refuses."""
    return (
        Case(name="column dropped", done="A day's file without its last required column.", stages=("ingest",),
             guards=("schema",), run=_dropped),
        Case(name="column retyped", done="That column has another type in a typed file.", stages=("ingest",),
             guards=("schema",), run=_retyped),
        Case(name="milliseconds for a time", done="Event times arrive as milliseconds since 1970.",
             stages=("ingest",), guards=("event time",), run=_milliseconds),
        Case(name="file delivered twice", done="The same file comes again under another name.", stages=("ingest",),
             guards=("duplicates",), run=_twice),
        Case(name="half a file", done="A Parquet file is cut in the middle.", stages=("ingest",), guards=("file",),
             run=_half_a_file),
    )  # fmt: skip


def validated(project: Project) -> tuple[Case[Home], ...]:
    """What the expectations on the first table refuse, where its tables are those that the sources deliver."""
    return (
        _broken(project, "a hundredth of it", "A day's numbers arrive in units a hundred times as large.",
                "expect_column_median_to_be_between", _a_hundredth, "the expectation on the median"),
        _broken(project, "everybody is one", "A producer's join failed: one id for all rows.",
                "expect_column_unique_value_count_to_be_between", _all_one, "the expectation on how many there are"),
        _broken(project, "most of a day is missing", "A producer stopped early: one row fewer than the least there may be.",
                "expect_table_row_count_to_be_between", _most_is_missing, "the expectation on the number of rows"),
        _broken(project, "one id twice", "Two events of a cleaned day have the same id.",
                "expect_column_values_to_be_unique", _twice_the_same, "the expectation that ids are unique"),
        Case(name="expectation that raises", done="An expectation asks about a column that is not there.",
             stages=("validate",), guards=("expect_column_values_to_be_unique gone",), run=_raising),
    )  # fmt: skip


def of_project(project: Project) -> tuple[Case[Home], ...]:
    """What ingest refuses, then what the expectations refuse."""
    return (*ingested(project), *validated(project))
