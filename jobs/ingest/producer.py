"""A producer's daily files, with the mishaps of real ones: late rows, rows and files sent twice, malformed rows."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.spec import Column, Format, Source

LATE, TWICE, MALFORMED, FILE_TWICE = 0.01, 0.005, 0.002, 0.1
"""Shares of rows that arrive days late, twice, or malformed, and of files sent again under another name."""
_USUAL, _RARE = 0.8, 0.1
Row = dict[str, Any]


@dataclass(kw_only=True)
class Delivery:
    """One source's files of one delivery day, by name, and what was put into them."""

    files: dict[str, bytes]
    counts: Counter[str] = field(default_factory=Counter)
    """rows delivered, and how many of them late, duplicated or malformed."""


def delivery(
    source: Source, day: date, seed: int, mishaps: bool, first: date, table_of: Callable[[date], pa.Table]
) -> Delivery:
    """What arrives on a day: its own rows but those that are late, and late ones of days since `first`.

    `table_of` gives the events of a day. Whatever the range a caller simulates, a day's files are the same.
    """
    rows: list[Row] = []
    counts: Counter[str] = Counter()
    for age in range(source.lateness_days + 1 if mishaps else 1):
        event_day = day - timedelta(days=age)
        if event_day < first:
            continue
        table = table_of(event_day)
        chosen = np.flatnonzero(_arrives_after(source, event_day, seed, table.num_rows, mishaps) == age)
        rows += table.take(pa.array(chosen)).to_pylist()
        counts["late"] += len(chosen) if age else 0
    rng = _rng(source, day, seed, 1)
    form = _format(source, rng)
    again = bool(mishaps and rng.uniform() < FILE_TWICE)
    if mishaps and rows:
        rows = _spoil(source, rows, form, rng, counts)
    counts["rows"] = len(rows)
    data = _written(source, rows, form)
    name = f"{source.name}-{day.isoformat()}"
    files = {f"{name}.{form}": data}
    if again and rows:
        files[f"{name}-again.{form}"] = data
        counts.update(rows=len(rows), duplicated_files=1, rows_of_duplicated_files=len(rows))
    counts["files"] = len(files)
    return Delivery(files=files, counts=counts)


def _rng(source: Source, day: date, seed: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng([seed, purpose, day.toordinal(), *source.name.encode()])


def _arrives_after(source: Source, day: date, seed: int, rows: int, mishaps: bool) -> Any:
    """How many days late each row of an event day is; a source that may be absent is never late."""
    rng = _rng(source, day, seed, 2)
    late = rng.uniform(size=rows) < (LATE if mishaps and source.required and source.lateness_days else 0)
    return np.where(late, rng.integers(1, max(source.lateness_days, 1) + 1, rows), 0)


def _format(source: Source, rng: np.random.Generator) -> Format:
    others = source.formats[1:]
    pick = rng.uniform()
    return (
        source.formats[0] if pick < _USUAL or not others else others[int((pick - _USUAL) / (1 - _USUAL) * len(others))]
    )


def _spoil(source: Source, rows: list[Row], form: Format, rng: np.random.Generator, counts: Counter[str]) -> list[Row]:
    twice = np.flatnonzero(rng.uniform(size=len(rows)) < TWICE)
    bad = set(np.flatnonzero(rng.uniform(size=len(rows)) < MALFORMED)) - set(twice)
    kinds = rng.integers(0, 3, len(rows))
    spoiled = [
        _malformed(source, row, form, int(kinds[place])) if place in bad else row for place, row in enumerate(rows)
    ]
    counts.update(duplicated_rows=len(twice), malformed=len(bad))
    return spoiled + [rows[place] for place in twice]


def _malformed(source: Source, row: Row, form: Format, kind: int) -> Row:
    """The row with a bad amount, a value missing, or an absurd date."""
    amount = next((c for c in source.columns if c.type == "integer" and not c.nullable and c.name in row), None)
    if kind == 0 and amount and form != "parquet":
        return row | {amount.name: "12.5O"}
    if kind == 1:
        needed: Sequence[Column] = [c for c in source.columns if not c.nullable and c.name != source.event_time]
        return row | {needed[-1].name: None}
    moment: datetime = row[source.event_time]
    return row | {source.event_time: moment.replace(year=1900, day=1)}


def _written(source: Source, rows: list[Row], form: Format) -> bytes:
    names = [column.name for column in source.columns if not rows or column.name in rows[0]]
    if form == "parquet":
        sink = io.BytesIO()
        pq.write_table(pa.table({name: [row[name] for row in rows] for name in names}), sink)
        return sink.getvalue()
    texts = [{name: _text(row[name]) for name in names} for row in rows]
    if form == "jsonl":
        return "".join(json.dumps(text) + "\n" for text in texts).encode()
    lines = [",".join("" if text[name] is None else str(text[name]) for name in names) for text in texts]
    return "".join(line + "\n" for line in [",".join(names), *lines]).encode()


def _text(value: Any) -> Any:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
