"""Runs a project's dbt models in this process, on a DuckDB file that lives as long as the call."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.errors import DataRejected, MissingBatchError, TidemillError
from jobs.lake import Lake
from jobs.settings import ROOT, Settings
from jobs.spec import ColumnType, Project
from jobs.storage import digest_file, digest_of, write_atomically

if TYPE_CHECKING:
    import pyarrow as pa

MODELS = ROOT / "dbt"
_LEFT_SECONDS = 86_400
_SQL: dict[ColumnType, str] = {
    "string": "varchar",
    "integer": "bigint",
    "number": "double",
    "boolean": "boolean",
    "timestamp": "timestamptz",
}


class Warehouse:
    """The marts of one call."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def rows(self, mart: str, batch: date, order: Sequence[str]) -> pa.Table:
        """A mart's rows of one batch, in the order of the named columns."""
        query = f"select * from main.{mart} where batch = ? order by {', '.join(order)}"  # noqa: S608
        return self._connection.sql(query, params=[batch]).to_arrow_table()


def digest(project: Project) -> str:
    """SHA-256 over what the project's marts are computed by: its models, macros and variables."""
    return _digest(path for path in _sources(project) if path.suffix == ".sql" or path.name == "dbt_project.yml")


@contextmanager
def build(
    project: Project, settings: Settings, *, tables: Mapping[str, Sequence[str]], batches: Mapping[str, Sequence[date]]
) -> Iterator[Warehouse]:
    """The project's marts, computed and tested by dbt from Parquet files by table, for the batches asked of each mart.

    Raises DataRejected naming every data test that failed, and TidemillError when dbt could not run.
    """
    import duckdb

    scratch = settings.home / "dbt"
    scratch.mkdir(parents=True, exist_ok=True)
    for left in scratch.iterdir():  # by a call that was killed
        if time.time() - left.stat().st_mtime > _LEFT_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{project.name}-", dir=scratch))
    try:
        file = folder / "warehouse.duckdb"
        with duckdb.connect(file) as connection:
            _provide(connection, project, tables, batches)
        _run(project, settings, folder, file)
        with duckdb.connect(file) as connection:
            connection.execute("set timezone = 'UTC'")
            yield Warehouse(connection)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _provide(
    connection: Any, project: Project, tables: Mapping[str, Sequence[str]], batches: Mapping[str, Sequence[date]]
) -> None:
    """Creates what the models' sources name, so that the models hold no path and run unchanged on Spark."""
    connection.execute(f"create schema {project.name}")
    for table, paths in tables.items():
        relation = (
            f"read_parquet({list(paths)!r}, union_by_name = true, hive_partitioning = false)"
            if paths
            else _empty(project, table)
        )
        connection.execute(f"create view {project.name}.{table} as select * from {relation}")  # noqa: S608
    connection.execute(f"create table {project.name}.batches (mart varchar, batch date)")
    rows = [(mart, day) for mart, days in batches.items() for day in days]
    connection.executemany(f"insert into {project.name}.batches values (?, ?)", rows)  # noqa: S608


def _empty(project: Project, table: str) -> str:
    columns = next((source.columns for source in project.sources if source.name == table), None)
    if columns is None:
        raise MissingBatchError(
            f"no clean {table} in any day that passed validation; they are written by "
            f"`tidemill etl --project {project.name}`"
        )
    return f"(select {', '.join(f'null::{_SQL[c.type]} as {c.name}' for c in columns)} where false)"


def _run(project: Project, settings: Settings, folder: Path, file: Path) -> None:
    from dbt.cli.main import dbtRunner

    os.environ["TIDEMILL_WAREHOUSE"] = str(file)
    runner = dbtRunner()
    common = (
        *("--project-dir", str(MODELS), "--profiles-dir", str(MODELS)),
        *("--target-path", str(folder / "target"), "--log-path", str(folder / "logs")),
        *("--select", f"tag:{project.name}", "--quiet", "--log-level", "none"),
    )
    output = folder / "output.txt"
    try:
        with output.open("w") as out, redirect_stdout(out), redirect_stderr(out):
            _check(project, runner.invoke(["build", *common]), output)
            documented = Lake(settings.lake_uri).dbt_docs(project.name)
            version, stamp = _digest(_sources(project)), documented / "models.sha256"
            if not stamp.is_file() or stamp.read_text() != version:
                _check(project, runner.invoke(["docs", "generate", "--static", *common]), output)
                write_atomically(documented / "index.html", (folder / "target" / "static_index.html").read_bytes())
                write_atomically(stamp, version.encode())
    finally:
        _release()


def _check(project: Project, outcome: Any, output: Path) -> None:
    if outcome.success:
        return
    results = getattr(outcome.result, "results", None) or []
    faults = [
        f"- {result.node.name}: {' '.join(str(result.message).split())}"
        for result in results
        if result.status in ("fail", "error", "runtime error")
    ]
    if faults and all(result.status != "error" for result in results):
        raise DataRejected("\n".join(["the features break what the dbt tests state; nothing was published:", *faults]))
    output_text = output.read_text()[-2000:]
    reason = faults or [f"- {outcome.exception or output_text}"]
    raise TidemillError(
        "\n".join([f"dbt could not build the models of {project.name}; nothing was published:", *reason])
    )


def _release() -> None:
    """Closes the file that dbt's adapter keeps open, so that it can be read here."""
    from dbt.adapters.factory import FACTORY

    for adapter in FACTORY.adapters.values():
        adapter.cleanup_connections()


def _sources(project: Project) -> list[Path]:
    models = MODELS / "models"
    folders = [MODELS / "macros", models / "staging" / project.name, models / "marts" / project.name]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return sorted([MODELS / "dbt_project.yml", *files])


def _digest(paths: Iterable[Path]) -> str:
    return digest_of({path.relative_to(MODELS).as_posix(): digest_file(path) for path in paths})
