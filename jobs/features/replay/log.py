"""The prediction log as replay reads it: ingested Parquet and landed JSON lines alike, each request once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jobs.errors import DataRejected
from jobs.spec import PREDICTIONS, ColumnType, FeatureView, LiveView, Project

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

NONE = -1
"""What stands for a counter that was not logged."""
_SQL: dict[ColumnType, str] = {
    "string": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE", "boolean": "BOOLEAN", "timestamp": "TIMESTAMPTZ",
}  # fmt: skip
_ABOUT = ("request_id", "event_id", "event_time", "served_at", "release", "slot", "degraded")
_LATER = {column.name for column in PREDICTIONS.columns if column.nullable}
"""Columns that older logs do not have."""
_AGAIN = "QUALIFY row_number() OVER (PARTITION BY request_id ORDER BY served_at DESC, event_id) = 1"


@dataclass(frozen=True, kw_only=True)
class Logged:
    """Answers, a row each: what was asked, and the vector that was scored."""

    about: pa.Table
    """request_id, event_id, event_time, served_at, release, slot, degraded."""
    asked: pa.Table
    """event_id, event_time and the columns of the request."""
    vectors: NDArray[np.float64]
    """(rows, inputs); null was logged for NaN, and rows that logged another number of inputs are NaN throughout."""
    widths: NDArray[np.int64]
    """How many inputs each row logged."""

    def __len__(self) -> int:
        return len(self.widths)

    @property
    def degraded(self) -> NDArray[np.bool_]:
        """Which answers were given while the online store could not be asked."""
        return np.asarray(self.about.column("degraded").to_numpy(), dtype=np.bool_)

    def take(self, rows: NDArray[np.int64]) -> Logged:
        """These rows."""
        return Logged(
            about=self.about.take(rows),
            asked=self.asked.take(rows),
            vectors=self.vectors[rows],
            widths=self.widths[rows],
        )

    def times(self, name: str) -> NDArray[np.int64]:
        """A column of times in microseconds."""
        import pyarrow as pa

        column = self.about.column(name).cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        return np.asarray(column.to_numpy(), dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What answers were read from, a row each."""

    traced: NDArray[np.bool_]
    """Which rows say it at all; older logs do not."""
    same: Mapping[str, NDArray[np.bool_]]
    """For each view, which rows were read from a value of its present schema."""
    counters: Mapping[str, Mapping[str, NDArray[np.int64]]]
    """For each view what was logged of it: `available_at`, or `events` and `checksum`; NONE where there is nothing."""

    def take(self, rows: NDArray[np.int64]) -> Trace:
        """These rows."""
        return Trace(
            traced=self.traced[rows],
            same={view: flags[rows] for view, flags in self.same.items()},
            counters={view: {name: counts[rows] for name, counts in of.items()} for view, of in self.counters.items()},
        )


class Log:
    """The records of ingested and of landed files: the view `log` of a DuckDB connection."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        project: Project,
        ingested: Sequence[str],
        landed: Sequence[str] = (),
    ) -> None:
        self.connection, self.project = connection, project
        connection.execute("SET TimeZone = 'UTC'")
        parts = [*map(_parquet, ingested), _json_lines(landed)]
        connection.execute(f"CREATE OR REPLACE TEMP TABLE landed AS {parts.pop()}")
        parts.append("SELECT * FROM landed")
        connection.execute(f"CREATE OR REPLACE TEMP VIEW log AS {' UNION ALL '.join(parts)}")

    def rows(self, condition: str, *, limit: int | None = None) -> Logged:
        """The answers for which a condition on the log holds, each request once; of more than `limit` a fixed sample.

        Raises DataRejected when a record's payload is not a request of this project, or its JSON does not parse.
        """
        source = self.project.sources[0]
        known = {source.event_id: "event_id", source.event_time: "event_time"}
        request = {column.name: _SQL[column.type] for column in source.columns
                   if not column.nullable and column.name not in known}  # fmt: skip
        fields = {name: "VARCHAR" if kind == "TIMESTAMPTZ" else kind for name, kind in request.items()}
        sample = f" ORDER BY hash(request_id), request_id LIMIT {limit}" if limit else ""
        columns = [f'payload."{name}"::{kind} AS "in__{name}"' for name, kind in request.items()]
        table = self._asked(
            f"SELECT {', '.join([*_ABOUT, 'inputs', *columns])} FROM ("  # noqa: S608
            f"SELECT {', '.join(_ABOUT)}, from_json(payload, {text(json.dumps(fields))}) AS payload, "
            f"""from_json("vector", '["DOUBLE"]') AS inputs FROM log WHERE {condition} {self._once(condition)}{sample})"""
        )
        return _logged(table, len(self.project.models[-1].inputs), list(request), known)

    def trace(self, condition: str, logged: Logged) -> Trace:
        """What some of the answers that `rows` gave for a condition were read from, in their order."""
        import pyarrow as pa
        import pyarrow.compute as pc

        sources = {view: counters_of(view) for view in self.project.every_view}
        shape = {view.name: {"schema": "VARCHAR", **dict.fromkeys(of, "BIGINT")} for view, of in sources.items()}
        columns = ["request_id", "read IS NOT NULL AS traced"]
        for view, counters in sources.items():
            columns.append(f"coalesce(read.{view.name}.schema = {text(view.schema)}, false) AS same__{view.name}")
            columns += [f"coalesce(read.{view.name}.{one}, {NONE}) AS {view.name}__{one}" for one in counters]
        self.connection.register("wanted", logged.about.select(["request_id"]))
        mine = f"({condition}) AND request_id IN (SELECT request_id FROM wanted)"  # noqa: S608
        table = self._asked(
            f"SELECT {', '.join(columns)} FROM (SELECT request_id, from_json(provenance, {text(json.dumps(shape))}) AS read "  # noqa: S608
            f"FROM log WHERE {mine} {self._once(mine)})"
        )
        self.connection.unregister("wanted")
        order = pc.index_in(logged.about["request_id"], pa.array(table["request_id"].to_pylist(), pa.string()))
        table = table.take(order)
        return Trace(
            traced=table["traced"].to_numpy(),
            same={view.name: table[f"same__{view.name}"].to_numpy() for view in sources},
            counters={
                view.name: {one: table[f"{view.name}__{one}"].to_numpy() for one in of} for view, of in sources.items()
            },
        )

    def _asked(self, query: str) -> pa.Table:
        import duckdb

        try:
            return self.connection.sql(query).to_arrow_table()
        except (duckdb.InvalidInputException, duckdb.ConversionException) as error:
            raise DataRejected(
                f"the prediction log cannot be read: {str(error)[:300]}; nothing was replayed. Ingest the day again, "
                "or look for the record in the landing zone"
            ) from None

    def _once(self, condition: str) -> str:
        """What keeps each request once; nothing where none is there twice, because it costs more than to look."""
        query = f"SELECT count(*) - count(DISTINCT request_id) FROM log WHERE {condition}"  # noqa: S608
        found = self.connection.execute(query).fetchall()
        return _AGAIN if found[0][0] else ""


def counters_of(view: FeatureView | LiveView) -> tuple[str, ...]:
    """The names of what the log says of where a view's values were read from."""
    return ("available_at",) if isinstance(view, FeatureView) else ("events", "checksum")


def _parquet(path: str) -> str:
    import pyarrow.parquet as pq

    there = set(pq.read_schema(path).names)
    absent = [column.name for column in PREDICTIONS.columns if column.name not in there | _LATER]
    if absent:
        raise DataRejected(
            f"{path} lacks the column {absent[0]!r} of the prediction log; nothing was replayed. "
            "Ingest it again: `tidemill ingest --source predictions` with --force"
        )
    names = (c.name for c in PREDICTIONS.columns)
    columns = [f'"{name}"' if name in there else f'NULL::VARCHAR AS "{name}"' for name in names]
    return f"SELECT {', '.join(columns)} FROM read_parquet({text(path)}, hive_partitioning = false)"  # noqa: S608


def _json_lines(paths: Sequence[str]) -> str:
    if not paths:
        columns = ", ".join(f'NULL::{_SQL[column.type]} AS "{column.name}"' for column in PREDICTIONS.columns)
        return f"SELECT {columns} WHERE false"
    files = ", ".join(map(text, paths))
    types = ", ".join(f"{column.name}: '{_SQL[column.type]}'" for column in PREDICTIONS.columns)
    return f"SELECT * FROM read_json([{files}], format = 'newline_delimited', columns = {{{types}}}, hive_partitioning = false)"  # noqa: S608


def text(value: str) -> str:
    """A text as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


def _logged(
    table: pa.Table,
    width: int,
    request: Sequence[str],
    known: Mapping[str, str],
) -> Logged:
    import pyarrow as pa
    import pyarrow.compute as pc

    for name in request:
        if table.column(f"in__{name}").null_count:
            row = pc.index(pc.is_null(table.column(f"in__{name}")), True).as_py()
            raise DataRejected(
                f"what was asked about event {table.column('event_id')[row].as_py()!r} has no {name!r} of its declared "
                "type; nothing was replayed. It was logged under another declaration of this project's source"
            )
    lists = table.column("inputs").combine_chunks()
    widths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy().astype(np.int64)
    fit = widths == width
    kept = lists if fit.all() else lists.filter(pa.array(fit))
    vectors = kept.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    if not fit.all():
        every = np.full((len(table), width), np.nan)
        every[fit] = vectors
        vectors = every
    names = (
        {"event_id": "event_id", "event_time": "event_time"} | {name: f"in__{name}" for name in request} | dict(known)
    )
    return Logged(
        about=table.select(list(_ABOUT)),
        asked=table.select(list(names.values())).rename_columns(list(names)),
        vectors=vectors,
        widths=widths,
    )
