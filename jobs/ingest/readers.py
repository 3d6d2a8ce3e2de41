"""From a file's bytes to records: CSV, JSON lines and Parquet. A record is a line; what does not parse is refused.

A quoted CSV field may hold the delimiter and quotes, but no line break: so a stray quote spoils its
own line and no other.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.spec import Format

SUFFIXES: dict[str, Format] = {
    ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet"
}  # fmt: skip
LARGEST = 2 << 30
"""Bytes of a file, and of what a Parquet file unpacks to, above which it is refused."""
_A_ROW, _AT_ONCE = 64, 4_096
"""Bytes that a row costs beside its values, and how many rows are unpacked before anybody looks how much it is."""
_TEXTS = (pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view())
_BOM = b"\xef\xbb\xbf"


class FileRefused(Exception):
    """A file that is refused as a whole: why, and how many rows it holds when they can be counted."""

    def __init__(self, reason: str, *, column: str = "", value: str = "", rows: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.column, self.value, self.rows = reason, column, value, rows


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A row that was refused."""

    line: int
    reason: str
    bytes: bytes
    column: str = ""
    value: str = ""


@dataclass(kw_only=True)
class Records:
    """The records of a file, as columns: text (CSV), Python values (JSON lines) or typed (Parquet)."""

    names: Sequence[str]
    """Every column the file has, wanted or not."""
    columns: dict[str, pa.Array | list[Any]]
    lines: list[int]
    """Where each record is: its line, or its row in a Parquet file, counted from 1."""
    original: Callable[[int], bytes]
    """The bytes of a record, by its position in `lines`."""
    refused: list[Refused] = field(default_factory=list)
    text: bool = False
    """Whether the file has no types of its own, so that every value is text."""


def read(data: bytes, name: str, wanted: set[str], formats: Sequence[Format]) -> Records:
    """The records of a file, of the wanted columns; raises FileRefused when it cannot be read as what it is named."""
    form = SUFFIXES.get(Path(name).suffix.lower())
    if form is None or form not in formats:
        raise FileRefused(
            f"its name does not end in one of {', '.join(s for s, f in SUFFIXES.items() if f in formats)}"
        )
    if len(data) > LARGEST:
        raise FileRefused(f"larger than {LARGEST >> 30} GiB; deliver it in parts")
    if form == "parquet":
        return _read_parquet(data, wanted)
    for magic, what in ((b"PAR1", "Parquet"), (b"\x1f\x8b", "gzip"), (b"PK\x03\x04", "zip"), (b"\xfd7zXZ", "xz")):
        if data.startswith(magic):
            raise FileRefused(f"named {form}, but its first bytes are those of {what}")
    data = data.removeprefix(_BOM)
    return _read_csv(data, wanted) if form == "csv" else _read_jsonl(data, wanted)


def _lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(data.split(b"\n"), start=1):
        stripped = line.removesuffix(b"\r")
        if stripped.strip():
            yield number, stripped


def _read_csv(data: bytes, wanted: set[str]) -> Records:
    lines = _lines(data)
    first = next(lines, None)
    if first is None:
        return Records(names=(), columns={}, lines=[], original=lambda _: b"")
    names = _header(first[1], wanted)
    numbers: list[int] = []
    originals: list[bytes] = []
    fields: list[Sequence[str]] = []
    refused: list[Refused] = []
    for number, line in lines:
        parsed = _split(line, len(names))
        if isinstance(parsed, str):
            refused.append(Refused(line=number, reason=parsed, bytes=line))
        else:
            numbers.append(number)
            originals.append(line)
            fields.append(parsed)
    places = [place for place, name in enumerate(names) if name in wanted]
    columns: dict[str, pa.Array | list[Any]] = {
        names[place]: pa.array([row[place] or None for row in fields], pa.string()) for place in places
    }
    return Records(
        names=names, columns=columns, lines=numbers, original=originals.__getitem__, refused=refused, text=True
    )


def _header(line: bytes, wanted: set[str]) -> list[str]:
    try:
        names = next(csv.reader([line.decode()], strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileRefused(f"its header is not readable: {error}", value=repr(line[:80])) from None
    if not wanted & set(names):
        for delimiter in ";\t|":
            if wanted & set(line.decode().split(delimiter)):
                raise FileRefused(f"its delimiter is {delimiter!r}, expected ','", value=line[:80].decode())
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise FileRefused(f"its header names {twice[0]!r} twice", column=twice[0])
    return names


def _split(line: bytes, width: int) -> Sequence[str] | str:
    """The fields of a CSV line, or why it has none."""
    if b"\x00" in line:
        return "NUL byte"
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return "not UTF-8"
    if '"' not in text:
        fields = text.split(",")
    else:
        try:
            fields = next(csv.reader(io.StringIO(text), strict=True))
        except csv.Error:
            return "stray quote"
    if len(fields) != width:
        return f"ragged row: {len(fields)} fields, expected {width}"
    return fields


class _Bad(ValueError):
    """A JSON document that Python would read and we do not."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Bad("duplicate key")
    return found


def _constant(name: str) -> Any:
    raise _Bad(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=Decimal, parse_constant=_constant)


def _read_jsonl(data: bytes, wanted: set[str]) -> Records:
    numbers: list[int] = []
    originals: list[bytes] = []
    rows: list[dict[str, Any]] = []
    refused: list[Refused] = []
    names: dict[str, None] = {}
    for number, line in _lines(data):
        parsed = _parse(line)
        if isinstance(parsed, str):
            refused.append(Refused(line=number, reason=parsed, bytes=line))
            continue
        numbers.append(number)
        originals.append(line)
        rows.append(parsed)
        names.update(dict.fromkeys(parsed if len(names) < 1_000 else wanted & parsed.keys()))
    columns: dict[str, pa.Array | list[Any]] = {
        name: [row.get(name) for row in rows] for name in names if name in wanted
    }
    return Records(names=list(names), columns=columns, lines=numbers, original=originals.__getitem__, refused=refused)


def _parse(line: bytes) -> dict[str, Any] | str:
    """The object on a line, or why there is none."""
    try:
        parsed = _DECODER.decode(line.decode())
    except UnicodeDecodeError:
        return "not UTF-8"
    except RecursionError:
        return "not JSON: nested too deep"
    except _Bad as error:
        return f"not JSON: {error}"
    except ValueError as error:
        return f"not JSON: {str(error)[:80]}"
    return parsed if isinstance(parsed, dict) else "not a JSON object"


def _read_parquet(data: bytes, wanted: set[str]) -> Records:
    rows: int | None = None
    if not data:
        raise FileRefused("empty: a Parquet file of no bytes was cut off")
    if not data.startswith(b"PAR1"):
        raise FileRefused("named parquet, but its first bytes are not those of Parquet", value=repr(data[:16]))
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        rows = file.metadata.num_rows
        stated = sum(file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups))
        if max(stated, rows * _A_ROW) > LARGEST:
            raise _too_large(rows)
        names = file.schema_arrow.names
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise FileRefused(f"it has column {twice[0]!r} twice", column=twice[0], rows=rows)
        table = _unpacked(data, file, [name for name in names if name in wanted])
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise FileRefused(f"truncated or damaged Parquet: {str(error).splitlines()[0][:160]}", rows=rows) from None
    columns: dict[str, pa.Array | list[Any]] = {
        name: table.column(name).combine_chunks() for name in table.column_names
    }

    def original(place: int) -> bytes:
        return json.dumps(table.slice(place, 1).to_pylist()[0], default=str).encode()

    return Records(names=names, columns=columns, lines=list(range(1, table.num_rows + 1)), original=original)


def _too_large(rows: int) -> FileRefused:
    return FileRefused(f"unpacks to more than {LARGEST >> 30} GiB; deliver it in parts", rows=rows)


def _unpacked(data: bytes, file: pq.ParquetFile, names: list[str]) -> pa.Table:
    """The columns of a file; raises FileRefused as soon as they are too large, before they fill the memory.

    What a file states of itself does not bound it: a text that is stored once may stand in every row. So texts are
    read as places in a dictionary, and their lengths added up before they are written out.
    """
    schema = pa.schema([file.schema_arrow.field(name) for name in names])
    if not names:
        return file.read(columns=[])
    texts = [field.name for field in schema if _has_lengths(field.type)]
    packed = pq.ParquetFile(pa.BufferReader(data), read_dictionary=texts)
    size, batches = 0, []
    for batch in packed.iter_batches(_AT_ONCE, columns=names):
        size += batch.num_rows * _A_ROW + sum(_size(column) for column in batch.columns)
        if size > LARGEST:
            raise _too_large(file.metadata.num_rows)
        columns = [
            column.dictionary_decode().cast(field.type) if name in texts else column
            for name, field, column in zip(names, schema, batch.columns, strict=True)
        ]
        batches.append(pa.record_batch(columns, schema=schema))
    return pa.Table.from_batches(batches, schema=schema)


def _size(column: pa.Array) -> int:
    """Bytes of a column's values once each stands for itself."""
    if not pa.types.is_dictionary(column.type) or not _has_lengths(column.type.value_type):
        return int(column.nbytes)
    lengths = pc.binary_length(column.dictionary).cast(pa.int64())
    return int(pc.sum(lengths.take(column.indices)).as_py() or 0)


def _has_lengths(type_: pa.DataType) -> bool:
    return type_ in _TEXTS


def count_rows(data: bytes, name: str) -> int | None:
    """How many rows a file holds that was refused as a whole, or None when nobody can say."""
    form = SUFFIXES.get(Path(name).suffix.lower())
    if form == "parquet":
        try:
            return int(pq.read_metadata(pa.BufferReader(data)).num_rows)
        except (pa.ArrowException, OSError):
            return None
    if form is None or b"\x00" in data[:4096] or data.startswith((b"PAR1", b"\x1f\x8b")):
        return None
    return max(sum(1 for _ in _lines(data.removeprefix(_BOM))) - (form == "csv"), 0)
