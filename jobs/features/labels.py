"""The label table: the spine's labels that are known for certain, by one rule for training and for monitoring."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING

from jobs.batch import day_end

if TYPE_CHECKING:
    import pyarrow as pa


def matured(paths: Iterable[str], *, by: date, after: date | None = None) -> pa.Table:
    """The rows of the spine's files whose label was certain by the end of one day, and not by the end of another.

    A label that is null although its time has come is among them: training refuses it, monitoring counts it as unknown.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    spine = pa.concat_tables([pq.read_table(path, partitioning=None) for path in paths])
    certain, instant = spine.column("label_time"), pa.timestamp("us", "UTC")
    known = pc.less_equal(certain, pa.scalar(day_end(by), instant))
    if after is not None:
        known = pc.and_(known, pc.greater(certain, pa.scalar(day_end(after), instant)))
    return spine.filter(known)
