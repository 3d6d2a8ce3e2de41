"""Values that came as text: every CSV value, and JSON values once their JSON type is the declared one."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.ingest.columns import ARROW, Mask, Typed, localised, mask, null_where, scaled
from jobs.spec import Alias, Column, ColumnType

_PYTHON: dict[ColumnType, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, Decimal), "boolean": (bool,), "timestamp": (str,)
}  # fmt: skip
_JSON = {str: "string", bool: "boolean", dict: "object", list: "array"}
_INTEGER = r"^-?[0-9]{1,18}$"
_NUMBER = r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?$"
_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?$"
_OFFSET = r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"


def json_texts(column: Column, alias: Alias | None, values: list[Any], faults: list[tuple[Mask, str]]) -> pa.Array:
    """JSON values as text, where their JSON type is the declared one."""
    allowed: tuple[type, ...] = _PYTHON[column.type]
    if alias is not None:
        allowed += {"string": (int,), "boolean": (int,), "integer": (Decimal,)}.get(column.type, ())
    wrong: dict[str, Mask] = {}
    texts: list[str | None] = []
    for place, value in enumerate(values):
        text, fault = _text(value, allowed, column.type)
        texts.append(text)
        if fault:
            wrong.setdefault(fault, np.zeros(len(values), dtype=np.bool_))[place] = True
    faults += [(mask, fault) for fault, mask in wrong.items()]
    return pa.array(texts, pa.string())


def _text(value: Any, allowed: tuple[type, ...], wanted: str) -> tuple[str | None, str | None]:
    if value is None:
        return None, None
    if (isinstance(value, bool) and bool not in allowed) or not isinstance(value, allowed):
        return None, f"wrong type: {_JSON.get(type(value), 'number')}, expected {wanted}"
    if not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value), None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None, "lone surrogate"
    return value, None


def from_text(column: Column, alias: Alias | None, texts: pa.Array, time_zone: str) -> Typed:
    """The typed column that texts hold, and the faults of those that do not."""
    multiply = alias.multiply if alias else 1
    if column.type == "string":
        return Typed(values=texts)
    if column.type == "integer" and multiply != 1:
        return scaled([None if text is None else _decimal(text) for text in texts.to_pylist()], texts, multiply)
    if column.type == "boolean":
        lower = pc.utf8_lower(texts)
        true, false = pc.is_in(lower, pa.array(["true", "1"])), pc.is_in(lower, pa.array(["false", "0"]))
        known = pc.or_(true, false)
        bad = mask(pc.and_(pc.is_valid(texts), pc.invert(known)))
        return Typed(values=pc.if_else(known, true, pa.scalar(None, pa.bool_())), faults=[(bad, "not true or false")])
    if column.type == "timestamp":
        return _times(texts, time_zone)
    pattern, what = (_INTEGER, "not an integer") if column.type == "integer" else (_NUMBER, "not a finite number")
    bad = mask(pc.invert(pc.match_substring_regex(texts, pattern)))
    typed = null_where(bad, texts).cast(ARROW[column.type])
    return Typed(values=typed, faults=[(bad, what)])


def _decimal(text: str) -> Decimal | None:
    try:
        return Decimal(text) if text.isascii() and "_" not in text and text == text.strip() else None
    except InvalidOperation:
        return None


def _each(texts: pa.Array, type_: pa.DataType) -> pa.Array:
    """A cast that makes null of what does not parse; only the values are tried one by one that need it."""
    try:
        return texts.cast(type_)
    except pa.ArrowInvalid:
        if len(texts) == 1:
            return pa.nulls(1, type_)
        half = len(texts) // 2
        return pa.concat_arrays([_each(texts.slice(0, half), type_), _each(texts.slice(half), type_)])


def _times(texts: pa.Array, time_zone: str) -> Typed:
    bad = mask(pc.invert(pc.match_substring_regex(texts, _TIME)))
    texts = null_where(bad, texts)
    zoned = mask(pc.match_substring_regex(texts, _OFFSET))
    absolute = _each(null_where(~zoned, texts), ARROW["timestamp"])
    local = localised(_each(null_where(zoned, texts), pa.timestamp("us")), time_zone)
    values = pc.coalesce(absolute, local.values)
    bad |= mask(pc.and_(pc.is_valid(texts), pc.is_null(values))) & ~local.faults[0][0]
    return Typed(values=values, faults=[(bad, "not a timestamp"), *local.faults])
