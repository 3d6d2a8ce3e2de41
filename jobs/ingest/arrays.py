"""Values of Parquet columns: only an exact representation of the declared type is taken."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.ingest.columns import ARROW, ULPS, Mask, Typed, localised, mask, retyped, scaled
from jobs.ingest.readers import FileRefused
from jobs.spec import Alias, Column

_LARGEST = 10**18


def from_array(column: Column, alias: Alias | None, values: pa.Array, time_zone: str) -> Typed:
    """The typed column and its faults; raises FileRefused when the array has another type than declared."""
    type_, given = values.type, mask(pc.is_valid(values))
    whole, floating = pa.types.is_integer(type_), pa.types.is_floating(type_)
    if pa.types.is_null(type_):
        return Typed(values=pa.nulls(len(values), ARROW[column.type]))
    if column.type == "integer":
        return _integers(column, alias, values, given)
    if column.type == "string" and (_is_text(values) or (whole and alias)):
        return Typed(values=values.cast(pa.string()))
    if column.type == "boolean" and (pa.types.is_boolean(type_) or (whole and alias)):
        return _flags(values, given)
    if column.type == "timestamp" and pa.types.is_timestamp(type_):
        return _stamps(values, time_zone)
    if column.type == "number" and (whole or floating):
        return _finite(values, given)
    raise retyped(column, str(type_))


def _integers(column: Column, alias: Alias | None, values: pa.Array, given: Mask) -> Typed:
    multiply = alias.multiply if alias else 1
    if pa.types.is_integer(values.type):
        return _whole(values, given, multiply)
    if alias and pa.types.is_decimal(values.type):
        return scaled(values.to_pylist(), values, multiply)
    if alias and pa.types.is_floating(values.type):
        return _scaled_floats(values, given, multiply)
    raise retyped(column, str(values.type))


def _is_text(values: pa.Array) -> bool:
    type_ = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_))


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


def _finite(values: pa.Array, given: Mask) -> Typed:
    numbers = values.cast(pa.float64(), safe=False).fill_null(0.0).to_numpy() + 0.0
    bad = given & ~np.isfinite(numbers)
    return Typed(values=pa.array(numbers, mask=~given | bad), faults=[(bad, "not a finite number")])


def _scaled_floats(values: pa.Array, given: Mask, multiply: int) -> Typed:
    """A double is a whole number of units when it is within a few of its last places of one."""
    numbers = values.cast(pa.float64()).fill_null(0.0).to_numpy()
    infinite = given & ~np.isfinite(numbers)
    numbers = np.where(infinite, 0.0, numbers)
    huge = given & (np.abs(numbers) >= 1e12)
    units = np.rint(np.where(huge, 0.0, numbers) * multiply).astype(np.int64)
    places = np.spacing(np.abs(numbers).astype(np.float32 if pa.types.is_float32(values.type) else np.float64))
    exact = np.abs(units / multiply - numbers) <= ULPS * places
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
        fine = mask(pc.is_valid(values)) & (values.cast(pa.int64()).fill_null(0).to_numpy() % 1_000 != 0)
    try:
        micro = values.cast(pa.timestamp("us", values.type.tz), safe=False)
    except pa.ArrowInvalid as error:
        raise FileRefused(f"a timestamp is out of every range: {error}") from None
    typed = Typed(values=micro.cast(ARROW["timestamp"])) if values.type.tz else localised(micro, time_zone)
    return Typed(values=typed.values, faults=[(fine, "finer than a microsecond"), *typed.faults])
