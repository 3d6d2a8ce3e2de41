"""What was scored and is not in the lake: it has happened, whether or not it is ever delivered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from jobs import mirror
from jobs.lake import Lake
from jobs.spec import PREDICTIONS, LiveView, Project

if TYPE_CHECKING:
    import duckdb

_HOUR = "INTERVAL 1 HOUR"
"""How far ahead of its answer a scored event may be: the online store keeps none beyond."""


def landed(connection: duckdb.DuckDBPyConnection, project: Project, lake: Lake, days: Iterable[date]) -> bool:
    """Makes `log` of what was answered about events of these days, as far as it has landed; whether there is anything.

    A record that cannot be read is left out: `tidemill ingest` quarantines it.
    """
    folders = (lake.landing(project.name, PREDICTIONS.name, day) for day in days)
    paths = (folder / name for folder in folders for name in sorted(mirror.names(folder)) if name.endswith(".jsonl"))
    files = [str(mirror.fetch_file(path)) for path in paths]
    if files:
        kinds = "{event_time: 'TIMESTAMPTZ', event_id: 'VARCHAR', served_at: 'TIMESTAMPTZ', payload: 'VARCHAR'}"
        records = f"read_json({files!r}, format = 'newline_delimited', ignore_errors = true, columns = {kinds})"
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE log AS SELECT * FROM {records} WHERE event_id IS NOT NULL AND json_valid(payload)"  # noqa: S608
        )
    return bool(files)


def with_scored(
    connection: duckdb.DuckDBPyConnection,
    project: Project,
    files: Mapping[LiveView, Sequence[str]],
    last: date,
    scratch: Path,
    *,
    but: str = "false",
) -> dict[LiveView, list[str]]:
    """The files with one more for each view: the scored events up to a day that are not in them.

    Answers for which the condition `but` holds are left out: those that are asked about themselves.

    An event that was scored has happened, whether or not it was ever delivered; the lake's row wins where both exist.
    A column that no request carries is as the online store has it until the lake's row arrives: 0.
    """
    united: dict[LiveView, list[str]] = {}
    absent: dict[tuple[str, ...], str] = {}
    for view, paths in files.items():
        if tuple(paths) not in absent:
            name = absent[tuple(paths)] = f"absent_{len(absent)}"
            connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {_absent(paths, last, but)}")
        path = scratch / f"scored-{view.name}.parquet"
        query = f"SELECT event_time, event_id, {_columns(project, view, paths)} FROM {absent[tuple(paths)]}"  # noqa: S608
        connection.execute(f"COPY ({query}) TO '{_quoted(str(path))}' (FORMAT parquet)")
        united[view] = [*paths, str(path)]
    return united


def _absent(paths: Sequence[str], last: date, but: str) -> str:
    """The scored events that are not in these files, each once: as it was first asked about."""
    lake = f"ANTI JOIN read_parquet({list(paths)!r}, hive_partitioning = false) AS lake USING (event_time, event_id)"
    return (
        "SELECT log.event_time, log.event_id, arg_min(log.payload, log.served_at) AS payload "  # noqa: S608
        f"FROM (SELECT * FROM log WHERE NOT ({but})) AS log {lake if paths else ''} WHERE log.event_time <= TIMESTAMPTZ '{last} 23:59:59.999999Z' "
        f"AND log.event_time <= log.served_at + {_HOUR} GROUP BY ALL"
    )


def _columns(project: Project, view: LiveView, paths: Sequence[str]) -> str:
    request = {column.name: column.type for column in project.sources[0].columns if not column.nullable}
    types = _types(paths)
    columns = []
    for name in dict.fromkeys((*view.entity, *view.columns)):
        kind = types.get(name) or {"string": "VARCHAR", "boolean": "BOOLEAN"}.get(request.get(name, ""), "BIGINT")
        zero = "''" if kind == "VARCHAR" else "0"
        value = f"json_extract_string(payload, '$.\"{name}\"')" if name in request else zero
        columns.append(f'CAST({value} AS {kind}) AS "{name}"')
    return ", ".join(columns)


def _types(paths: Sequence[str]) -> dict[str, str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not paths:
        return {}
    kinds: dict[str, str] = {}
    for field in pq.read_schema(paths[0]):
        if pa.types.is_boolean(field.type):
            kinds[field.name] = "BOOLEAN"
        elif pa.types.is_integer(field.type):
            kinds[field.name] = "BIGINT"
        else:
            kinds[field.name] = "VARCHAR"
    return kinds


def _quoted(text: str) -> str:
    return text.replace("'", "''")
