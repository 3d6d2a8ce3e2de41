"""Live views that have every function, delayed or not, exact and with hops of every kind."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.features.live.streams import view_of

HOUR, DAY, NONE = timedelta(hours=1), timedelta(days=1), timedelta(0)
VIEWS = {
    "exact": view_of((DAY, NONE, None), (7 * DAY, NONE, None), (3 * DAY, 2 * DAY, None), (DAY / 4, DAY / 4, None)),
    "hourly": view_of((6 * HOUR, NONE, HOUR), (DAY, DAY / 2, HOUR)),
    "daily": view_of((3 * DAY, NONE, DAY), (DAY, NONE, DAY), (2 * DAY, DAY, DAY)),
    "uneven": view_of((21 * HOUR, NONE, 7 * HOUR), (DAY / 2, DAY / 4, HOUR), (4 * DAY, 2 * DAY, 2 * DAY)),
    "mixed": view_of((DAY, NONE, None), (4 * DAY, NONE, DAY), (2 * DAY, 3 * DAY, DAY / 4)),
    "shortest": view_of(*[(timedelta(microseconds=1), delay, None) for delay in (NONE, timedelta(microseconds=1))]),
}
every_view = pytest.mark.parametrize("view", VIEWS.values(), ids=list(VIEWS))
OF_EACH_KIND = view_of(
    (DAY, NONE, None), (3 * DAY, 2 * DAY, None), (DAY, NONE, DAY), (21 * HOUR, NONE, 7 * HOUR), (2 * DAY, DAY, DAY / 4)
)
