"""From delivered columns to typed ones: which values are not what the source declares, and why. Nothing is guessed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.ingest.readers import FileRefused
from jobs.spec import Alias, Column, ColumnType

Mask = npt.NDArray[np.bool_]
ARROW: dict[ColumnType, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("us", "UTC"),
}
_PYTHON: dict[ColumnType, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, Decimal), "boolean": (bool,), "timestamp": (str,)
}  # fmt: skip
_INTEGER = r"^[+-]?[0-9]{1,18}$"
_NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?$"
_OFFSET = r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"
_EARLIEST, _LATEST = (
    np.datetime64("1971-01-01", "us").astype(np.int64),
    np.datetime64("2200-01-01", "us").astype(np.int64),
)
_LARGEST = 10**18
_ULPS = 4
"""Last places by which a double may miss a whole amount: 29.33 * 5 is 146.64999999999998."""


@dataclass(kw_only=True)
class Typed:
    """A column as it is kept; where `faults` marks a row, its value is null and the row is refused."""

    values: pa.Array
    faults: list[tuple[Mask, str]] = field(default_factory=list)


def convert(
    column: Column, alias: Alias | None, delivered: pa.Array | list[Any], time_zone: str, *, text: bool = False
) -> Typed:
    """The typed column and its faults; raises FileRefused when the column has another type than declared.

    `text` says that the file has no types of its own (CSV). Under an alias, ids may be whole numbers,
    flags 0 and 1, and amounts are multiplied exactly.
    """
    faults: list[tuple[Mask, str]] = []
    if isinstance(delivered, list):
        delivered = _texts(column, alias, delivered, faults)
    elif not text:
        return _bounded(column, _from_typed(column, alias, delivered, time_zone))
    typed = _from_text(column, alias, delivered, time_zone)
    typed.faults = faults + typed.faults
    for mask, fault in typed.faults:
        if len(mask) > 1 and mask.all() and fault.startswith(("not a", "not t", "wrong type")):
            raise _retyped(column, f"{fault.removeprefix('wrong type: ').split(',')[0]} in every row")
    return _bounded(column, typed)


def _is_text(values: pa.Array) -> bool:
    type_ = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_))


def _retyped(column: Column, got: str) -> FileRefused:
    return FileRefused(f"column {column.name!r} has type {got}, expected {column.type}", column=column.name, value=got)


def _mask(values: pa.Array) -> Mask:
    found: Mask = values.fill_null(False).to_numpy(zero_copy_only=False).astype(np.bool_)
    return found


def _null_where(mask: Mask, values: pa.Array) -> pa.Array:
    return pc.if_else(pa.array(mask), pa.scalar(None, values.type), values) if mask.any() else values


def _texts(column: Column, alias: Alias | None, values: list[Any], faults: list[tuple[Mask, str]]) -> pa.Array:
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
    if isinstance(value, bool) and bool not in allowed or not isinstance(value, allowed):
        return None, f"wrong type: {_JSON.get(type(value), 'number')}, expected {wanted}"
    if not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value), None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None, "lone surrogate"
    return value, None


_JSON = {str: "string", bool: "boolean", dict: "object", list: "array"}


def _from_text(column: Column, alias: Alias | None, texts: pa.Array, time_zone: str) -> Typed:
    multiply = alias.multiply if alias else 1
    if column.type == "string":
        return Typed(values=texts)
    if column.type == "integer" and multiply != 1:
        return _scaled([None if text is None else _decimal(text) for text in texts.to_pylist()], texts, multiply)
    if column.type == "boolean":
        lower = pc.utf8_lower(texts)
        true, false = pc.is_in(lower, pa.array(["true", "1"])), pc.is_in(lower, pa.array(["false", "0"]))
        known = pc.or_(true, false)
        return Typed(values=pc.if_else(known, true, None).cast(pa.bool_()), faults=[(_mask(pc.and_(pc.is_valid(texts), pc.invert(known))), "not true or false")])  # fmt: skip
    if column.type == "timestamp":
        return _times(texts, time_zone)
    pattern, what = (_INTEGER, "not an integer") if column.type == "integer" else (_NUMBER, "not a finite number")
    bad = _mask(pc.invert(pc.match_substring_regex(texts, pattern)))
    typed = _null_where(bad, texts).cast(ARROW[column.type])
    return Typed(values=typed, faults=[(bad, what)])


def _decimal(text: str) -> Decimal | None:
    try:
        return Decimal(text) if text.isascii() and "_" not in text and text == text.strip() else None
    except InvalidOperation:
        return None


def _scaled(amounts: list[Decimal | None], delivered: pa.Array, multiply: int) -> Typed:
    """Whole units of ours, exactly; an amount that is not whole is a fault, never rounded."""
    given = _mask(pc.is_valid(delivered))
    size = len(amounts)
    not_number, not_whole, huge = (np.zeros(size, dtype=np.bool_) for _ in range(3))
    whole = np.zeros(size, dtype=np.int64)
    for place, amount in enumerate(amounts):
        if amount is None or not amount.is_finite():
            not_number[place] = given[place]
        elif amount and amount.adjusted() > 15:
            huge[place] = True
        elif (scaled := amount * multiply) == (rounded := round(scaled)) or _is_printed_double(
            amount, rounded, multiply
        ):
            whole[place] = rounded
        else:
            not_whole[place] = True
    faults = [
        (not_number, "not a finite number"), (not_whole, f"not a whole number of 1/{multiply}"), (huge, "out of range")
    ]  # fmt: skip
    return Typed(values=pa.array(whole, mask=~given | not_number | not_whole | huge), faults=faults)


def _is_printed_double(amount: Decimal, units: int, multiply: int) -> bool:
    """Whether a text such as 146.64999999999998 is what is left of a whole amount after double arithmetic."""
    return len(amount.as_tuple().digits) >= 15 and abs(float(amount) - units / multiply) <= _ULPS * np.spacing(
        abs(float(amount))
    )


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
    bad = _mask(pc.invert(pc.match_substring_regex(texts, _TIME)))
    texts = _null_where(bad, texts)
    zoned = _mask(pc.match_substring_regex(texts, _OFFSET))
    absolute = _each(_null_where(~zoned, texts), ARROW["timestamp"])
    local = _localised(_each(_null_where(zoned, texts), pa.timestamp("us")), time_zone)
    values = pc.coalesce(absolute, local.values)
    bad |= _mask(pc.and_(pc.is_valid(texts), pc.is_null(values))) & ~local.faults[0][0]
    return Typed(values=values, faults=[(bad, "not a timestamp"), *local.faults])


def _localised(naive: pa.Array, time_zone: str) -> Typed:
    """Local times as UTC; one that the clocks showed twice, or never, is a fault."""
    earliest = pc.assume_timezone(naive, time_zone, ambiguous="earliest", nonexistent="earliest")
    latest = pc.assume_timezone(naive, time_zone, ambiguous="latest", nonexistent="latest")
    unclear = _mask(pc.not_equal(earliest, latest))
    return Typed(
        values=_null_where(unclear, earliest).cast(ARROW["timestamp"]),
        faults=[(unclear, f"the clocks of {time_zone} showed this time twice or never")],
    )


def _from_typed(column: Column, alias: Alias | None, values: pa.Array, time_zone: str) -> Typed:
    """Parquet values; only an exact representation of the declared type is taken."""
    type_, given = values.type, _mask(pc.is_valid(values))
    if pa.types.is_null(type_):
        return Typed(values=pa.nulls(len(values), ARROW[column.type]))
    handler: Callable[[], Typed] | None = None
    whole = pa.types.is_integer(type_)
    if column.type == "string" and _is_text(values):
        handler = lambda: Typed(values=values.cast(pa.string()))  # noqa: E731
    elif column.type == "string" and whole and alias is not None:
        handler = lambda: Typed(values=values.cast(pa.string()))  # noqa: E731
    elif column.type == "boolean" and (pa.types.is_boolean(type_) or (whole and alias is not None)):
        handler = lambda: _flags(values, given)  # noqa: E731
    elif column.type == "timestamp" and pa.types.is_timestamp(type_):
        handler = lambda: _stamps(values, time_zone)  # noqa: E731
    elif column.type == "number" and (whole or pa.types.is_floating(type_)):
        handler = lambda: _finite(values)  # noqa: E731
    elif column.type == "integer" and whole:
        handler = lambda: _whole(values, given, alias.multiply if alias else 1)  # noqa: E731
    elif column.type == "integer" and alias is not None and pa.types.is_decimal(type_):
        handler = lambda: _scaled(values.to_pylist(), values, alias.multiply)  # noqa: E731
    elif column.type == "integer" and alias is not None and pa.types.is_floating(type_):
        handler = lambda: _scaled_floats(values, given, alias.multiply)  # noqa: E731
    if handler is None:
        raise _retyped(column, str(type_))
    return handler()


def _flags(values: pa.Array, given: Mask) -> Typed:
    if pa.types.is_boolean(values.type):
        return Typed(values=values)
    numbers = values.cast(pa.int64()).fill_null(0).to_numpy()
    bad = given & (numbers != 0) & (numbers != 1)
    return Typed(values=pa.array(numbers == 1, mask=~given | bad), faults=[(bad, "not 0 or 1")])


def _whole(values: pa.Array, given: Mask, multiply: int) -> Typed:
    numbers = values.cast(pa.int64(), safe=False).fill_null(0).to_numpy()
    bad = given & (np.abs(numbers.astype(np.float64)) >= _LARGEST / multiply)
    if pa.types.is_uint64(values.type):
        bad |= given & (numbers < 0)
    return Typed(
        values=pa.array(np.where(bad, 0, numbers) * multiply, mask=~given | bad), faults=[(bad, "out of range")]
    )


def _finite(values: pa.Array) -> Typed:
    given = _mask(pc.is_valid(values))
    numbers = values.cast(pa.float64(), safe=False).fill_null(0.0).to_numpy() + 0.0
    bad = given & ~np.isfinite(numbers)
    return Typed(values=pa.array(numbers, mask=~given | bad), faults=[(bad, "not a finite number")])


def _scaled_floats(values: pa.Array, given: Mask, multiply: int) -> Typed:
    """A double is a whole number of units when it is within a few of its last places of one."""
    numbers = values.cast(pa.float64()).fill_null(0.0).to_numpy()
    infinite = given & ~np.isfinite(numbers)
    huge = given & ~infinite & (np.abs(np.where(infinite, 0, numbers)) >= 1e12)
    units = np.rint(np.where(infinite | huge, 0.0, numbers) * multiply).astype(np.int64)
    places = np.spacing(np.abs(numbers).astype(np.float32 if pa.types.is_float32(values.type) else np.float64))
    exact = np.abs(units / multiply - numbers) <= _ULPS * places
    part = given & ~infinite & ~huge & ~exact
    return Typed(
        values=pa.array(units, mask=~given | infinite | huge | part),
        faults=[
            (infinite, "not a finite number"),
            (part, f"not a whole number of 1/{multiply}"),
            (huge, "out of range"),
        ],
    )


def _stamps(values: pa.Array, time_zone: str) -> Typed:
    fine = np.zeros(len(values), dtype=np.bool_)
    if values.type.unit == "ns":
        fine = _mask(pc.is_valid(values)) & (values.cast(pa.int64()).fill_null(0).to_numpy() % 1_000 != 0)
    try:
        micro = values.cast(pa.timestamp("us", values.type.tz), safe=False)
    except pa.ArrowInvalid as error:
        raise FileRefused(f"a timestamp is out of every range: {error}") from None
    typed = Typed(values=micro.cast(ARROW["timestamp"])) if values.type.tz else _localised(micro, time_zone)
    return Typed(values=typed.values, faults=[(fine, "finer than a microsecond"), *typed.faults])


def _bounded(column: Column, typed: Typed) -> Typed:
    """Adds what holds for every format: bounds, absurd dates, and values that must be there."""
    refused = np.zeros(len(typed.values), dtype=np.bool_)
    for mask, _ in typed.faults:
        refused |= mask
    if column.type in ("integer", "number"):
        for bound, outside in ((column.minimum, pc.less), (column.maximum, pc.greater)):
            if bound is not None:
                typed.faults.append((_mask(outside(typed.values, bound)), "out of range"))
    if column.type == "number":
        typed.faults.append((_mask(pc.invert(pc.is_finite(typed.values))), "not a finite number"))
    if column.type == "timestamp":
        micro = typed.values.cast(pa.int64())
        absurd = pc.or_(pc.less(micro, int(_EARLIEST)), pc.greater_equal(micro, int(_LATEST)))
        typed.faults.append((_mask(absurd), "absurd date"))
    if not column.nullable:
        typed.faults.append((_mask(pc.is_null(typed.values)) & ~refused, "missing value"))
    return typed
