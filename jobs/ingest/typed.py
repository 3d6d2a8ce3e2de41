"""From delivered columns to typed ones: which values are not what the source declares, and why. Nothing is guessed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.ingest.arrays import from_array
from jobs.ingest.columns import Mask, Typed, mask, retyped
from jobs.ingest.texts import from_text, json_texts
from jobs.spec import Alias, Column

_EARLIEST, _LATEST = (int(np.datetime64(day, "us").astype(np.int64)) for day in ("1971-01-01", "2200-01-01"))


def convert(
    column: Column, alias: Alias | None, delivered: pa.Array | list[Any], time_zone: str, *, text: bool = False
) -> Typed:
    """The typed column and its faults; raises FileRefused when the column has another type than declared.

    `text` says that the file has no types of its own (CSV). Under an alias, ids may be whole numbers,
    flags 0 and 1, and amounts are multiplied exactly.
    """
    faults: list[tuple[Mask, str]] = []
    if isinstance(delivered, list):
        delivered = json_texts(column, alias, delivered, faults)
    elif not text:
        return _bounded(column, from_array(column, alias, delivered, time_zone))
    typed = from_text(column, alias, delivered, time_zone)
    typed.faults = faults + typed.faults
    for bad, fault in typed.faults:
        if len(bad) > 1 and bad.all() and fault.startswith(("not a", "not t", "wrong type")):
            raise retyped(column, f"{fault.removeprefix('wrong type: ').split(',')[0]} in every row")
    return _bounded(column, typed)


def _bounded(column: Column, typed: Typed) -> Typed:
    """Adds what holds for every format: bounds, absurd dates, and values that must be there."""
    refused = np.zeros(len(typed.values), dtype=np.bool_)
    for bad, _ in typed.faults:
        refused |= bad
    if column.type in ("integer", "number"):
        for bound, outside in ((column.minimum, pc.less), (column.maximum, pc.greater)):
            if bound is not None:
                typed.faults.append((mask(outside(typed.values, bound)), "out of range"))
    if column.type == "number":
        typed.faults.append((mask(pc.invert(pc.is_finite(typed.values))), "not a finite number"))
    if column.type == "timestamp":
        micro = typed.values.cast(pa.int64())
        absurd = pc.or_(pc.less(micro, _EARLIEST), pc.greater_equal(micro, _LATEST))
        typed.faults.append((mask(absurd), "absurd date"))
    if not column.nullable:
        absent = pc.is_null(typed.values)
        if column.type == "string":  # an empty key would be everybody's, and no request may hold one either
            absent = pc.or_(absent, pc.equal(pc.fill_null(typed.values, ""), ""))
        typed.faults.append((mask(absent) & ~refused, "missing value"))
    return typed
