"""From a payment and the features of its customer and terminal to the model's inputs: in training and in serving.

Only numpy and the standard library, elementwise throughout: a row alone gives the same bits as inside a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Columns = Mapping[str, NDArray[Any]]

LARGE_CENTS = 22_000
NO_GENUINE_DAY = 99
"""Days since a terminal's last genuine payment where none is known."""
_HOUR, _DAY = 3_600_000_000, 86_400_000_000
_THURSDAY = 3
"""The weekday of 1970-01-01, Monday being 0."""


def request(payload: Columns, features: Mapping[str, Columns]) -> NDArray[np.float64]:
    """The model's inputs, a row per payment, in the order the spec declares; what is unknown counts as none."""
    at, cents = payload["event_time"], payload["amount_cents"]
    customer, terminal = features["customer"], features["terminal"]
    columns = [
        cents / 100,
        (at // _DAY + _THURSDAY) % 7 >= 5,
        at % _DAY // _HOUR <= 6,
    ]
    for days in (1, 7, 30):
        count = customer[f"count_{days}d"]
        columns += [count, _ratio(customer[f"amount_cents_{days}d"], count) / 100]
    for days in (1, 7, 30):
        count = terminal[f"count_{days}d"]
        columns += [count, _ratio(terminal[f"frauds_{days}d"], count)]
    mean = _ratio(customer["amount_cents_30d"], customer["count_30d"])
    usual = _ratio(customer["genuine_cents_23d"], customer["genuine_23d"])
    known = terminal["last_genuine_day_21d"]
    columns += [
        _ratio(cents, mean),
        cents > LARGE_CENTS,
        _ratio(cents, usual),
        _ratio(customer["largest_cents_7d"], usual),
        _ratio(terminal["small_frauds_21d"], terminal["count_21d"]),
        terminal["last_small_fraud_21d"],
        np.where(known > 0, at // _DAY - known, NO_GENUINE_DAY),
    ]
    return np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])


def rule(payload: Columns) -> NDArray[np.bool_]:
    """Which payments the plain rule holds back: those over a fixed amount."""
    return np.asarray(payload["amount_cents"] > LARGE_CENTS, dtype=np.bool_)


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """`part / whole`, and 0 where there is no whole."""
    ratio = np.zeros(len(whole), dtype=np.float64)
    np.divide(part, whole, out=ratio, where=whole != 0)
    return ratio
