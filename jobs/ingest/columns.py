"""What the conversions share: a typed column with its faults, exact amounts, local times."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.ingest.readers import FileRefused
from jobs.spec import Column, ColumnType

Mask = npt.NDArray[np.bool_]
ARROW: dict[ColumnType, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("us", "UTC"),
}
ULPS = 4
"""Last places by which a double may miss a whole amount: 29.33 * 5 is 146.64999999999998."""


@dataclass(kw_only=True)
class Typed:
    """A column as it is kept; where `faults` marks a row, its value is null and the row is refused."""

    values: pa.Array
    faults: list[tuple[Mask, str]] = field(default_factory=list)


def mask(values: pa.Array) -> Mask:
    """Where a boolean array is true; null counts as false."""
    found: Mask = values.fill_null(False).to_numpy(zero_copy_only=False).astype(np.bool_)
    return found


def null_where(marked: Mask, values: pa.Array) -> pa.Array:
    """The array with null where it is marked."""
    return pc.if_else(pa.array(marked), pa.scalar(None, values.type), values) if marked.any() else values


def retyped(column: Column, got: str) -> FileRefused:
    """The refusal of a file whose column has another type than declared."""
    return FileRefused(f"column {column.name!r} has type {got}, expected {column.type}", column=column.name, value=got)


def scaled(amounts: list[Decimal | None], delivered: pa.Array, multiply: int) -> Typed:
    """Whole units of ours, exactly; an amount that is not whole is a fault, never rounded."""
    given = mask(pc.is_valid(delivered))
    size = len(amounts)
    not_number, not_whole, huge = (np.zeros(size, dtype=np.bool_) for _ in range(3))
    whole = np.zeros(size, dtype=np.int64)
    for place, amount in enumerate(amounts):
        if amount is None or not amount.is_finite():
            not_number[place] = given[place]
        elif amount and amount.adjusted() > 15:
            huge[place] = True
        elif (exact := amount * multiply) == (rounded := round(exact)) or _is_printed_double(amount, rounded, multiply):
            whole[place] = rounded
        else:
            not_whole[place] = True
    faults = [
        (not_number, "not a finite number"), (not_whole, f"not a whole number of 1/{multiply}"), (huge, "out of range")
    ]  # fmt: skip
    return Typed(values=pa.array(whole, mask=~given | not_number | not_whole | huge), faults=faults)


def _is_printed_double(amount: Decimal, units: int, multiply: int) -> bool:
    """Whether a text such as 146.64999999999998 is what is left of a whole amount after double arithmetic."""
    return len(amount.as_tuple().digits) >= 15 and abs(float(amount) - units / multiply) <= ULPS * np.spacing(
        abs(float(amount))
    )


def localised(naive: pa.Array, time_zone: str) -> Typed:
    """Local times as UTC; one that the clocks showed twice, or never, is a fault."""
    earliest = pc.assume_timezone(naive, time_zone, ambiguous="earliest", nonexistent="earliest")
    latest = pc.assume_timezone(naive, time_zone, ambiguous="latest", nonexistent="latest")
    unclear = mask(pc.not_equal(earliest, latest))
    return Typed(
        values=null_where(unclear, earliest).cast(ARROW["timestamp"]),
        faults=[(unclear, f"the clocks of {time_zone} showed this time twice or never")],
    )
