"""From a request's bytes to checked rows: strict types, and refusals that name the row and the field."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Annotated, Any

import msgspec
import numpy as np

from jobs.spec import Column, Source

MAXIMUM_ROWS, MAXIMUM_TEXT = 1_000, 200
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
EARLIEST, LATEST = datetime(1970, 1, 2, tzinfo=UTC), datetime(2199, 12, 31, tzinfo=UTC)
_WHERE = re.compile(r" - at `\$(?:\.rows(?:\[(\d+)\])?)?(?:\.([^`]*))?`\Z")
_OF_ROWS = " - at `$.rows`"
_FIELD = re.compile(r"field `(.*)`\Z", re.DOTALL)
_TYPES: dict[str, Any] = {
    "boolean": bool,
    "timestamp": Annotated[datetime, msgspec.Meta(tz=True)],
}
_ARRAYS: dict[str, Any] = {
    "string": object, "integer": np.int64, "number": np.float64, "boolean": np.bool_, "timestamp": np.int64,
}  # fmt: skip


class Refused(Exception):
    """A request that is answered with `status` and a JSON body saying what is wrong with it.

    `retry_after` are the seconds after which the same request may be answered, `allow` the methods that there are.
    """

    def __init__(
        self, status: int, error: str, *, field: str | None = None, row: int | None = None,
        retry_after: int | None = None, allow: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(error)
        self.status, self.retry_after, self.allow = status, retry_after, allow
        named = {"field": field, "row": row}
        self.body = {"error": error, **{name: value for name, value in named.items() if value is not None}}


class Decoder:
    """Decodes the raw fields of a project: the columns of its first source that may not be null.

    Those that are `optional` may be left out of a row.
    """

    def __init__(self, source: Source, optional: Sequence[str] = ()) -> None:
        self.columns = tuple(column for column in source.columns if not column.nullable)
        self.event_id, self.event_time = source.event_id, source.event_time
        fields = [
            (one.name, _type(one) | msgspec.UnsetType, msgspec.UNSET)
            if one.name in optional
            else (one.name, _type(one))
            for one in self.columns
        ]
        self.row = msgspec.defstruct(
            "Row", fields, forbid_unknown_fields=True, frozen=True, gc=False, kw_only=bool(optional)
        )
        rows = Annotated[list[self.row], msgspec.Meta(min_length=1, max_length=MAXIMUM_ROWS)]  # type: ignore[name-defined]
        batch = msgspec.defstruct("Batch", [("rows", rows)], forbid_unknown_fields=True)
        self._one, self._many = msgspec.json.Decoder(self.row), msgspec.json.Decoder(batch)
        self._values = attrgetter(*(column.name for column in self.columns))
        self._times = tuple(column.name for column in self.columns if column.type == "timestamp")

    def decode(self, body: bytes) -> tuple[list[Any], bool]:
        """The request's rows, and whether they came as a batch; raises Refused with 400 or 422."""
        try:
            rows, many = self._decode(body)
        except msgspec.ValidationError as error:
            raise _refusal(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _not_json(body, str(error)) from None
        except RecursionError:
            raise Refused(400, "the body is nested too deeply") from None
        for index, row in enumerate(rows):
            for name in self._times:
                if not EARLIEST <= getattr(row, name) <= LATEST:
                    raise Refused(422, "Expected a time from 1970 to 2199", field=name, row=index if many else None)
        return rows, many

    def arrays(self, rows: Sequence[Any]) -> dict[str, np.ndarray[Any, Any]]:
        """The rows as one array for each column: times in microseconds since 1970 UTC, texts as objects."""
        arrays = {}
        for column, values in zip(self.columns, zip(*map(self._values, rows), strict=True), strict=True):
            plain = [(value - _EPOCH) // _MICROSECOND for value in values] if column.type == "timestamp" else values
            arrays[column.name] = np.array(plain, dtype=_ARRAYS[column.type])
        return arrays

    def _decode(self, body: bytes) -> tuple[list[Any], bool]:
        try:
            return [self._one.decode(body)], False
        except msgspec.ValidationError as error:
            if str(error) != "Object contains unknown field `rows`":
                raise
        batch: Any = self._many.decode(body)
        return batch.rows, True


def _type(column: Column) -> Any:
    if column.type == "integer":
        low = -(2**63) if column.minimum is None else column.minimum
        high = 2**63 - 1 if column.maximum is None else column.maximum
        return Annotated[int, msgspec.Meta(ge=low, le=high)]
    if column.type == "number":
        bounds: dict[str, Any] = {"ge": column.minimum, "le": column.maximum}
        return Annotated[float, msgspec.Meta(**{name: bound for name, bound in bounds.items() if bound is not None})]
    if column.type == "string":
        return Annotated[str, msgspec.Meta(min_length=1, max_length=column.maximum or MAXIMUM_TEXT)]
    return _TYPES[column.type]


def _not_json(body: bytes, why: str) -> Refused:
    """Python and others write NaN and Infinity where JSON has no word for them: worth naming the field."""
    with suppress(ValueError, RecursionError):
        found = json.loads(body)
        rows = found.get("rows") if isinstance(found, dict) and "rows" in found else [found]
        for index, row in enumerate(rows if isinstance(rows, list) else []):
            for name, value in row.items() if isinstance(row, dict) else ():
                if isinstance(value, float) and not math.isfinite(value):
                    many = isinstance(found.get("rows"), list)
                    return Refused(422, "Expected a finite number", field=name[:100], row=index if many else None)
    return Refused(400, f"the body is not JSON: {why[:200]}")


def _refusal(message: str) -> Refused:
    where, row, field = _WHERE.search(message), None, None
    if where:
        message = message[: where.start()]
        row, field = int(where.group(1)) if where.group(1) else None, where.group(2)
        field = "rows" if where.group() == _OF_ROWS else field
    named = _FIELD.search(message)
    if named:
        field = named.group(1)
    return Refused(422, message[:300], field=field and field[:100], row=row)
