"""What the simulators of all projects write alike: the times and ids of a day's events."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def times(date: date, seconds: npt.NDArray[np.int64]) -> pa.Array:
    """That many seconds after the day's midnight, UTC, as timestamps in microseconds."""
    midnight = int(datetime(date.year, date.month, date.day, tzinfo=UTC).timestamp())
    return pa.array((midnight + seconds) * 1_000_000, pa.int64()).cast(pa.timestamp("us", "UTC"))


def identifier(date: date, number: int) -> str:
    """The id of the day's event of that number: the same in every run, and later days after earlier ones."""
    return f"{date:%Y%m%d}{number:06d}"
