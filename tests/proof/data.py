"""Bad data: deliveries that never become features."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs import expectations
from jobs.batch import Batches
from jobs.lake import Lake
from jobs.result import Result
from jobs.settings import Settings
from jobs.stages import validate
from jobs.storage import publish
from tests.data.deliveries import DAY, FRAUD, accepted, csv, parquet, payment, quarantined, take_in
from tests.proof.case import SEED, Case, Seen, taken_away
from tests.proof.home import Home

ROWS = 400
PAYMENTS = [payment(number) for number in range(ROWS)]
Suite = dict[str, Any]


def _seen(settings: Settings, result: Result, guard: str) -> Seen:
    """Caught when nothing of the delivery was taken."""
    taken = len(accepted(settings))
    reasons = sorted({str(row["reason"]) for row in quarantined(settings)})
    said = reasons[0] if reasons else result.line
    return Seen(caught=not taken, stage="ingest", guard=guard, said=said, after=f"{ROWS} delivered rows")


def _dropped(home: Home, guarded: bool) -> Seen:
    settings = home.empty()
    rows = [{name: value for name, value in row.items() if name != "amount_cents"} for row in PAYMENTS]
    header, *lines = csv(rows).decode().splitlines()
    text = "\n".join([header.removesuffix(",amount_cents"), *lines, ""])
    return _seen(settings, take_in(settings, {"day.csv": text.encode()}), "schema")


def _retyped(home: Home, guarded: bool) -> Seen:
    settings = home.empty()
    data = parquet(settings.home / "made.parquet", PAYMENTS, amount_cents=pa.string())
    return _seen(settings, take_in(settings, {"day.parquet": data}), "schema")


def _milliseconds(home: Home, guarded: bool) -> Seen:
    settings = home.empty()
    start = int(datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC).timestamp() * 1_000)
    rows = [row | {"event_time": f"{start + number}"} for number, row in enumerate(PAYMENTS)]
    return _seen(settings, take_in(settings, {"day.csv": csv(rows)}), "event time")


def _twice(home: Home, guarded: bool) -> Seen:
    """Caught when the second delivery adds nothing."""
    settings = home.empty()
    take_in(settings, {"day.csv": csv(PAYMENTS)})
    result = take_in(settings, {"again.csv": csv(PAYMENTS)})
    again = len(accepted(settings)) - ROWS
    said = f"{result.facts['duplicates']} of {ROWS} rows were there already"
    return Seen(caught=not again, stage="ingest", guard="duplicates", said=said, after=f"{ROWS} delivered rows")


def _half_a_file(home: Home, guarded: bool) -> Seen:
    settings = home.empty()
    data = parquet(settings.home / "made.parquet", PAYMENTS)
    return _seen(settings, take_in(settings, {"day.parquet": data[: len(data) // 2]}), "file")


def _table() -> pa.Table:
    """A day of clean payments as the cleaning publishes it."""
    random = np.random.default_rng(SEED)
    at = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    return pa.table(
        {
            "transaction_id": [f"t{number}" for number in range(ROWS)],
            "event_time": pa.array(
                [at + timedelta(minutes=number) for number in range(ROWS)], pa.timestamp("us", "UTC")
            ),
            "customer_id": [f"c{number % 90}" for number in range(ROWS)],
            "terminal_id": [f"m{number % 70}" for number in range(ROWS)],
            "amount_cents": np.round(np.exp(random.normal(8.3, 0.8, ROWS))).astype(np.int64),
            "is_fraud": pa.nulls(ROWS, pa.bool_()),
        }
    )


def _reports() -> pa.Table:
    at = pa.array([datetime(DAY.year, DAY.month, DAY.day, 1, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    return pa.table({"report_id": ["r1"], "reported_at": at, "transaction_id": ["t1"], "is_fraud": [True]})


def _validated(home: Home, table: pa.Table, change: Callable[[Suite], None] | None = None) -> Seen:
    """What the expectations say of a day; with other expectations where they are changed."""
    settings, root = home.empty(), expectations.ROOT
    for name, rows in (("transactions", table), ("fraud_reports", _reports())):

        def write(folder: Path, rows: pa.Table = rows) -> int:
            pq.write_table(rows, folder / "part-00000.parquet")
            return len(rows)

        publish(Lake(settings.lake_uri).clean("fraud", name, DAY), write, inputs={"a": "b"}, watermark=str(DAY))
    if change:
        root = settings.home / "other"
        for name in FRAUD.tables:
            suite = json.loads(expectations.suite_file("fraud", name).read_text())
            if name == "transactions":
                change(suite)
            path = root / "expectations" / "fraud" / f"{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(suite))
    with taken_away((expectations, "ROOT", root)):
        result = validate.run(FRAUD, settings, batches=Batches(DAY, DAY))
    failures = result.facts["failures"].get(str(DAY), [])
    first = failures[0].split(": ", 2) if failures else ["", "", ""]
    return Seen(
        caught=result.exit_code == 1, stage="validate", guard=first[1], said=": ".join(failures[:1]) or result.line,
        after=f"{len(table)} rows of one day",
    )  # fmt: skip


def _fewer(kind: str, column: str) -> Callable[[Suite], None]:
    """Takes an expectation out of a suite."""

    def change(suite: Suite) -> None:
        before = copy.copy(suite["expectations"])
        suite["expectations"] = [
            one for one in before if (one["type"], one["kwargs"].get("column")) != (kind, column)
        ]  # fmt: skip
        assert len(suite["expectations"]) == len(before) - 1

    return change


def _in_units(home: Home, guarded: bool) -> Seen:
    table = _table()
    cents = np.asarray(table["amount_cents"]) // 100
    table = table.set_column(4, "amount_cents", pa.array(cents))
    return _validated(home, table, None if guarded else _fewer("expect_column_median_to_be_between", "amount_cents"))


def _one_customer(home: Home, guarded: bool) -> Seen:
    table = _table().set_column(2, "customer_id", pa.array(["unknown"] * ROWS))
    kind = "expect_column_unique_value_count_to_be_between"
    return _validated(home, table, None if guarded else _fewer(kind, "customer_id"))


def _raising(home: Home, guarded: bool) -> Seen:
    def change(suite: Suite) -> None:
        suite["expectations"].append({"type": "expect_column_values_to_be_unique", "kwargs": {"column": "gone"}})

    return _validated(home, _table(), change)


INGESTED: tuple[Case[Home], ...] = (
    Case(name="column dropped", done="A day's file without the amounts.", stages=("ingest",), guards=("schema",),
         run=_dropped),
    Case(name="column retyped", done="Amounts arrive as text in a typed file.", stages=("ingest",),
         guards=("schema",), run=_retyped),
    Case(name="milliseconds for a time", done="Event times arrive as milliseconds since 1970.", stages=("ingest",),
         guards=("event time",), run=_milliseconds),
    Case(name="file delivered twice", done="The same file comes again under another name.", stages=("ingest",),
         guards=("duplicates",), run=_twice),
    Case(name="half a file", done="A Parquet file is cut in the middle.", stages=("ingest",), guards=("file",),
         run=_half_a_file),
)  # fmt: skip
VALIDATED: tuple[Case[Home], ...] = (
    Case(name="cents delivered as units", done="A day's amounts are in units, in the column for cents.",
         stages=("validate",), guards=("expect_column_median",), run=_in_units,
         removed="the expectation on the median amount"),
    Case(name="everybody is one customer", done="A producer's join failed: one customer id for all payments.",
         stages=("validate",), guards=("expect_column_unique_value_count",), run=_one_customer,
         removed="the expectation on how many customers pay"),
    Case(name="expectation that raises", done="An expectation asks about a column that is not there.",
         stages=("validate",), guards=("expect_column_values_to_be_unique",), run=_raising),
)  # fmt: skip
