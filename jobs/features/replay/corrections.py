"""Answers that counted the right events with values that were corrected since, such as a label that came later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.features import vectors
from jobs.features.replay.causes import Flags, same_bits
from jobs.features.replay.log import Logged
from jobs.features.replay.truth import Truth
from jobs.projects import hook
from jobs.spec import LiveView, Project, Window

_ROWS, _VALUES = 2_000, 500
"""Of so many answers, and with so many values of a window, it is tried whether a correction explains the difference."""


def suspects(project: Project, view: LiveView, features: frozenset[tuple[str, str]]) -> tuple[list[Window], bool]:
    """The windows among these features whose value can be corrected while the events stay the same, and how.

    True: only by what no request carries, which the lake adds later. False: also by what a request carried.
    """
    request = {column.name for column in project.sources[0].columns if not column.nullable}
    windows = [one for one in view.windows if (view.name, one.name) in features and one.column]
    later = [one for one in windows if one.column not in request]
    return (later, True) if later else (windows, False)


def explained(
    project: Project, view: LiveView, window: Window, index: int, logged: Logged, truth: Truth, rows: NDArray[np.int64]
) -> Flags:
    """Which of these rows logged what input `index` would be, had the window over yes-or-no values another sum.

    The values tried are those from 0 to the number of events. Of many rows only the first are tried, and of windows
    with very many events none: those count as explained.
    """
    counts = truth.counter(view.name, "events")[rows]
    good = np.ones(len(rows), dtype=np.bool_)
    tried = np.flatnonzero(counts[:_ROWS] < _VALUES)
    if not len(tried):
        return good
    mine, counts = rows[tried], counts[tried]
    again = np.repeat(np.arange(len(mine)), counts + 1)
    values = np.arange(len(again)) - np.repeat(np.cumsum(counts + 1) - (counts + 1), counts + 1)
    some = truth.take(mine)
    payload = {name: column[again] for name, column in vectors.payload(project, some.joined).items()}
    features = {name: {one: column[again] for one, column in of.items()} for name, of in arrays(project, some).items()}
    features[view.name][window.name] = values.astype(np.int64)
    with np.errstate(all="ignore"):
        inputs = hook(project, "features").request(payload, features)[:, index]
    good[tried] = np.bincount(again, same_bits(inputs, logged.vectors[mine[again], index]), len(mine)) > 0
    return good


def arrays(project: Project, truth: Truth) -> dict[str, dict[str, NDArray[Any]]]:
    """What `features.request` is given for these rows."""
    return {
        view.name: {name: truth.joined.column(f"{view.name}__{name}").to_numpy() for name in (*view.features, "found")}
        for view in project.every_view
    }


def yes_or_no(files: Sequence[str], window: Window) -> bool:
    """Whether a window sums a column that is true or false in the lake."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if window.function != "sum" or not files:
        return False
    schema = pq.read_schema(files[0])
    return window.column in schema.names and bool(pa.types.is_boolean(schema.field(window.column).type))
