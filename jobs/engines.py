"""Where the dbt models run: DuckDB in this process, or Spark. Both give the same rows, types and order."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jobs.errors import MissingBatchError
from jobs.lake import Lake
from jobs.settings import Settings
from jobs.spec import ColumnType, Project

if TYPE_CHECKING:
    import pyarrow as pa

Files = Mapping[str, Sequence[str]]
Batches = Mapping[str, Sequence[date]]
_LEFT_SECONDS = 86_400
_TYPES: dict[ColumnType, tuple[str, str]] = {
    "string": ("varchar", "string"),
    "integer": ("bigint", "bigint"),
    "number": ("double", "double"),
    "boolean": ("boolean", "boolean"),
    "timestamp": ("timestamptz", "timestamp"),
}


class Engine(Protocol):
    """A database of one call: the sources that the models name, then the marts that dbt made of them."""

    target: str
    """Its name in dbt/profiles.yml."""

    def provide(self, project: Project, tables: Files, batches: Batches) -> None:
        """Creates the sources, so that the models hold no path."""

    def lent(self) -> AbstractContextManager[Mapping[str, str]]:
        """The environment that dbt/profiles.yml reads, while dbt has the database."""

    def rows(self, mart: str, batch: date, order: Sequence[str]) -> pa.Table:
        """A mart's rows of one batch, in the order of the named columns."""


@contextmanager
def engine(project: Project, settings: Settings, folder: Path) -> Iterator[Engine]:
    """The engine that the settings name; what it wrote is removed in the end."""
    if settings.warehouse == "spark":
        from jobs.spark import session

        data = Lake(settings.lake_uri).scratch(project.name, f"dbt-{uuid.uuid4().hex}")
        spark = Spark(session(settings), f"tidemill_{uuid.uuid4().hex[:12]}", data, settings.spark_remote)
        try:
            yield spark
        finally:
            spark.drop()
            shutil.rmtree(data, ignore_errors=True)
    else:
        yield DuckDB(folder / "warehouse.duckdb")


@contextmanager
def scratch(project: Project, settings: Settings) -> Iterator[Path]:
    """A folder of this call's own; those of calls that were killed are removed after a day."""
    above = settings.home / "dbt"
    above.mkdir(parents=True, exist_ok=True)
    for left in above.iterdir():
        if time.time() - left.stat().st_mtime > _LEFT_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{project.name}-", dir=above))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class DuckDB:
    """A file that one process at a time may open: this one, or dbt's adapter in it."""

    target = "duckdb"

    def __init__(self, file: Path) -> None:
        self._file = file

    def provide(self, project: Project, tables: Files, batches: Batches) -> None:
        with self._open() as connection:
            connection.execute("create schema main_sources")
            for table, paths in tables.items():
                relation = (
                    f"read_parquet({list(paths)!r}, union_by_name = true, hive_partitioning = false)"
                    if paths
                    else _empty(project, table, 0)
                )
                connection.execute(f"create view main_sources.{table} as select * from {relation}")  # noqa: S608
            connection.execute(f"create view main_sources.batches as {_batches(batches)}")

    @contextmanager
    def lent(self) -> Iterator[Mapping[str, str]]:
        from dbt.adapters.factory import FACTORY

        try:
            yield {"TIDEMILL_DBT_FILE": str(self._file)}
        finally:
            for adapter in FACTORY.adapters.values():  # it keeps the file open
                adapter.cleanup_connections()

    def rows(self, mart: str, batch: date, order: Sequence[str]) -> pa.Table:
        query = f"select * from main.{mart} where batch = date '{batch}' order by {', '.join(order)}"  # noqa: S608
        with self._open() as connection:
            return connection.sql(query).to_arrow_table().combine_chunks()

    def _open(self) -> Any:
        import duckdb

        connection = duckdb.connect(self._file)
        connection.execute("set timezone = 'UTC'")
        return connection


class Spark:
    """Two schemas of a session's catalog, by names of their own: a Spark Connect server's catalog is everybody's."""

    target = "spark"

    def __init__(self, session: Any, schema: str, data: Path, remote: str | None) -> None:
        self._session, self._schema, self._data, self._remote = session, schema, data, remote

    def provide(self, project: Project, tables: Files, batches: Batches) -> None:
        for schema in (self._schema, f"{self._schema}_sources"):
            self._session.sql(f"create schema {schema} location {_text(str(self._data / schema))}")
        for table, paths in tables.items():
            name = f"{self._schema}_sources.{table}"
            if paths:
                self._session.sql(f"create table {name} using parquet location {_text(_glob(paths))}")
            else:
                self._session.sql(f"create view {name} as select * from {_empty(project, table, 1)}")  # noqa: S608
        self._session.sql(f"create view {self._schema}_sources.batches as {_batches(batches)}")

    @contextmanager
    def lent(self) -> Iterator[Mapping[str, str]]:
        ansi = "spark.sql.ansi.enabled"  # which dbt's adapter turns off for the session that others use too
        before = self._session.conf.get(ansi)
        try:
            yield {"TIDEMILL_DBT_SCHEMA": self._schema} | ({"SPARK_REMOTE": self._remote} if self._remote else {})
        finally:
            self._session.conf.set(ansi, before)

    def rows(self, mart: str, batch: date, order: Sequence[str]) -> pa.Table:
        import pyarrow as pa

        rows = self._session.table(f"{self._schema}.{mart}").where(f"batch = date '{batch}'")
        table = rows.orderBy(*(rows[name].asc_nulls_last() for name in order)).toArrow().combine_chunks()
        return table.cast(pa.schema([pa.field(field.name, field.type) for field in table.schema]))

    def drop(self) -> None:
        """Removes both schemas and everything in them."""
        for schema in (self._schema, f"{self._schema}_sources"):
            self._session.sql(f"drop schema if exists {schema} cascade")


def _batches(batches: Batches) -> str:
    rows = [f"('{mart}', date '{day}')" for mart, days in batches.items() for day in days]
    values = ", ".join(rows) or "('', date '1970-01-01')"
    return f"select * from (values {values}) as listed (mart, batch) where {'true' if rows else 'false'}"  # noqa: S608


def _empty(project: Project, table: str, dialect: int) -> str:
    columns = next((source.columns for source in project.sources if source.name == table), None)
    if columns is None:
        raise MissingBatchError(
            f"no clean {table} in any day that passed validation; they are written by "
            f"`tidemill etl --project {project.name}`"
        )
    nulls = ", ".join(f"cast(null as {_TYPES[column.type][dialect]}) as {column.name}" for column in columns)
    return f"(select {nulls} where false)"


def _glob(paths: Sequence[str]) -> str:
    """The files as one path with alternatives, which is how a table of Spark's has several."""
    root = os.path.commonpath(paths)
    inside = [_literal(path[len(root) + 1 :]) for path in paths]
    return f"{_literal(root)}/{{{','.join(inside)}}}" if len(paths) > 1 else _literal(root)


def _literal(path: str) -> str:
    return re.sub(r"([\\\[\]{}*?,])", r"\\\1", path)


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
