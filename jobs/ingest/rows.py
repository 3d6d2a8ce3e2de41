"""From a day's landed files to its accepted rows, its refused ones, and the counts that account for every row."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.ingest.columns import ARROW
from jobs.ingest.landed import LandedFile, contents, is_intact
from jobs.ingest.readers import FileRefused, Records, Refused, count_rows, read
from jobs.ingest.typed import convert
from jobs.spec import Alias, Column, Source

COUNTS = ("delivered", "accepted", "quarantined", "duplicates", "conflicts")
_DAY_US = 86_400_000_000
_QUARANTINE = pa.schema(
    [("file", pa.string()), ("line", pa.int64()), ("reason", pa.string()), ("column", pa.string()), ("value", pa.string()), ("bytes", pa.binary())]
)  # fmt: skip


@dataclass(kw_only=True)
class Day:
    """One delivery day of one source, read. accepted + quarantined + duplicates == delivered."""

    accepted: pa.Table
    refused: pa.Table
    """Rows and files refused, as they are quarantined; a file's row has line 0."""
    files: dict[str, bytes] = field(default_factory=dict)
    """The bytes of files refused as a whole, by the name they have in the landing zone."""
    delivered: int = 0
    quarantined: int = 0
    duplicates: int = 0
    conflicts: int = 0
    """Duplicates that said something else than the row that was kept."""
    reasons: Counter[str] = field(default_factory=Counter)
    extra_columns: Counter[str] = field(default_factory=Counter)
    """Columns nobody declared, and how many files had them; they are never read."""
    uncounted: list[str] = field(default_factory=list)
    """Refused files whose rows nobody can count; they are in no total."""
    unresolved: dict[str, str] = field(default_factory=dict)
    """Refused files, and why, for which no good file of the same name arrived that day."""

    def facts(self) -> dict[str, Any]:
        """What a manifest and `--json` say of the day."""
        days = pc.value_counts(self.accepted.column("_event_day")).to_pylist() if self.accepted.num_rows else []
        return {
            "delivered": self.delivered,
            "accepted": self.accepted.num_rows,
            "quarantined": self.quarantined,
            "duplicates": self.duplicates,
            "conflicts": self.conflicts,
            "reasons": dict(sorted(self.reasons.items())),
            "event_days": {str(day["values"]): day["counts"] for day in sorted(days, key=lambda day: day["values"])},
            "extra_columns": dict(sorted(self.extra_columns.items())),
            "uncounted_files": self.uncounted,
            "refused_files": self.unresolved,
        }


def read_day(source: Source, day: date, files: Sequence[LandedFile]) -> Day:
    """Reads every file of a delivery day; a bad row or file is refused with its reason and the rest goes on."""
    result = Day(accepted=schema(source).empty_table(), refused=_QUARANTINE.empty_table())
    tables: list[pa.Table] = []
    refused: list[dict[str, Any]] = []
    good: set[str] = set()
    for file in files:
        data = contents(file)
        if file.duplicate:
            again = count_rows(data, file.name) or 0
            result.delivered += again
            result.duplicates += again
            continue
        try:
            table, rows = _read_file(source, day, file, data, result)
        except FileRefused as fault:
            _refuse_file(result, file, data, fault)
            refused.append({"file": file.name, "line": 0, "reason": fault.reason, "column": fault.column, "value": fault.value, "bytes": None})  # fmt: skip
            continue
        good.add(file.name)
        tables.append(table)
        refused += [{"file": file.name, "line": row.line, "reason": row.reason, "column": row.column, "value": row.value, "bytes": row.bytes} for row in rows]  # fmt: skip
        result.delivered += table.num_rows + len(rows)
        result.quarantined += len(rows)
        result.reasons.update(row.reason.partition(":")[0] for row in rows)
    result.unresolved = {name: why for name, why in result.unresolved.items() if name not in good}
    if any(table.num_rows for table in tables):
        _deduplicate(source, pa.concat_tables(tables), result)
    result.refused = pa.Table.from_pylist(refused, schema=_QUARANTINE)
    return result


def schema(source: Source) -> pa.Schema:
    """The columns of a source's accepted rows while they are read."""
    columns = [(column.name, ARROW[column.type]) for column in source.columns]
    return pa.schema([*columns, ("_file", pa.string()), ("_line", pa.int64()), ("_event_day", pa.date32())])


def _refuse_file(result: Day, file: LandedFile, data: bytes, fault: FileRefused) -> None:
    rows = fault.rows if fault.rows is not None else count_rows(data, file.name)
    if rows is None:
        result.uncounted.append(file.name)
    result.delivered += rows or 0
    result.quarantined += rows or 0
    result.reasons["refused file"] += rows or 0
    result.files[file.key] = data
    place = f", column {fault.column!r}" if fault.column else ""
    result.unresolved[file.name] = fault.reason if repr(fault.column) in fault.reason else fault.reason + place


def _read_file(source: Source, day: date, file: LandedFile, data: bytes, result: Day) -> tuple[pa.Table, list[Refused]]:
    if not is_intact(file, data):
        raise FileRefused("its bytes changed after it was landed: they no longer have the digest in its name")
    wanted = {name for column in source.columns for name in _names(column)}
    records = read(data, file.name, wanted, source.formats)
    if not records.lines:
        return schema(source).empty_table(), records.refused
    chosen = _choose(source, records)
    result.extra_columns.update(name for name in records.names if name not in wanted)
    columns: dict[str, pa.Array] = {}
    first = np.full(len(records.lines), -1)
    faults: list[tuple[str, str]] = []
    for column in source.columns:
        name, alias = chosen.get(column.name, ("", None))
        if not name:
            columns[column.name] = pa.nulls(len(records.lines), ARROW[column.type])
            continue
        typed = convert(column, alias, records.columns[name], source.time_zone, text=records.text)
        if column.name == source.event_time:
            event_day = _event_days(typed.values)
            typed.faults += _misdated(event_day, day, source.lateness_days)
        for mask, reason in typed.faults:
            first[(first < 0) & mask] = len(faults)
            faults.append((reason, name))
        columns[column.name] = typed.values
    columns |= {
        "_file": pa.array([file.name] * len(first), pa.string()),
        "_line": pa.array(records.lines, pa.int64()),
        "_event_day": pa.array(event_day.astype(np.int32), pa.int32()).cast(pa.date32()),
    }
    bad = [
        Refused(
            line=records.lines[place],
            reason=faults[first[place]][0],
            column=faults[first[place]][1],
            value=_shown(records, faults[first[place]][1], place),
            bytes=records.original(place),
        )
        for place in np.flatnonzero(first >= 0).tolist()
    ]
    table = pa.table(columns, schema=schema(source)).filter(pa.array(first < 0))
    return table, sorted(records.refused + bad, key=lambda row: row.line)


def _names(column: Column) -> list[str]:
    return [column.name, *(alias.name for alias in column.aliases)]


def _shown(records: Records, name: str, place: int) -> str:
    value = records.columns[name][place]
    text = str(value.as_py() if isinstance(value, pa.Scalar) else value)[:200]
    return text.encode(errors="backslashreplace").decode()


def _choose(source: Source, records: Records) -> dict[str, tuple[str, Alias | None]]:
    """Which delivered column is which of ours; raises FileRefused when one is missing or named twice."""
    chosen: dict[str, tuple[str, Alias | None]] = {}
    known = {name for column in source.columns for name in _names(column)}
    unknown = {name.lower(): name for name in records.names if name not in known}
    for column in source.columns:
        found = [name for name in _names(column) if name in records.names]
        if len(found) > 1:
            raise FileRefused(f"columns {found[0]!r} and {found[1]!r} both name {column.name!r}", column=found[1])
        if found:
            chosen[column.name] = (found[0], next((a for a in column.aliases if a.name == found[0]), None))
        elif not column.nullable:
            near = [
                unknown[match]
                for name in _names(column)
                for match in difflib.get_close_matches(name.lower(), list(unknown), n=1, cutoff=0.6)
            ]
            hint = f"; it has {near[0]!r}: did you mean {column.name!r}?" if near else ""
            raise FileRefused(
                f"column {column.name!r} is missing: expected {column.type}, got columns "
                f"{', '.join(map(repr, records.names[:20]))}{hint}",
                column=column.name,
            )
    return chosen


def _event_days(times: pa.Array) -> npt.NDArray[np.int64]:
    days: npt.NDArray[np.int64] = times.cast(pa.int64()).fill_null(0).to_numpy() // _DAY_US
    return np.clip(days, -(2**31), 2**31 - 1)


def _misdated(event_day: npt.NDArray[np.int64], day: date, lateness: int) -> list[tuple[npt.NDArray[np.bool_], str]]:
    delivered = (day - date(1970, 1, 1)).days
    return [
        (event_day > delivered, "future event: its day is after the delivery's"),
        (event_day < delivered - lateness, f"too late: more than {lateness} days after its own day"),
    ]


def _deduplicate(source: Source, table: pa.Table, result: Day) -> None:
    """Keeps each event once: the latest by event time, then by file and line. What differs from it is a conflict."""
    ids = table.column(source.event_id).combine_chunks().dictionary_encode()
    codes = ids.indices.to_numpy()
    times = table.column(source.event_time).cast(pa.int64()).to_numpy()
    order = np.lexsort((np.arange(len(codes)), times, codes))
    last = np.append(codes[order][1:] != codes[order][:-1], True)
    keep = order[last]
    if len(keep) < len(codes):
        payload = table.select([column.name for column in source.columns])
        kept = dict(zip(codes[keep], keep, strict=True))
        for place in order[~last]:
            mine, theirs = payload.slice(place, 1), payload.slice(kept[codes[place]], 1)
            result.conflicts += mine.to_pylist() != theirs.to_pylist()
        result.duplicates += len(codes) - len(keep)
    kept_rows = table.take(pa.array(keep))
    result.accepted = kept_rows.sort_by([(source.event_time, "ascending"), (source.event_id, "ascending")])
