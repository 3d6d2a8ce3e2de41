"""Why a served input is not what the lake says it was: one cause each, decided by evidence in a fixed order; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
Values = NDArray[np.float64]

CAUSES = ("definition changed", "missing key", "stale", "late event", "cast", "unknown")
"""In the order in which they are decided; the last is what nothing explains."""
DEFINITION, MISSING, STALE, LATE, CAST, UNKNOWN = range(len(CAUSES))
NONE = len(CAUSES)
"""The code of an input that is identical."""
_RELATIVE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of one view's part in some answers; every array is a flag a row."""

    other_definition: Flags
    """Its value was stored for another schema, or was not logged although others' were."""
    nothing_found: Flags
    """Nothing was found online although the lake has it."""
    behind: Flags
    """The online value was older than what the lake had made known by then."""
    other_events: Flags
    """It lacked events that came after the answer."""
    corrected: Flags
    """What it was computed from has been published anew since."""
    lost: Flags
    """That happened more than once: what it was computed from is no longer there to be tried."""
    correction: NDArray[np.int8]
    """The cause that such a correction is."""


def attribute(
    served: Values,
    offline: Values,
    before: Values,
    *,
    evidence: Mapping[str, Evidence],
    depends: Mapping[int, frozenset[str]],
    valued: Mapping[int, frozenset[str]],
    other_code: Flags,
    traced: Flags,
) -> NDArray[np.int8]:
    """For each row and input the index of its cause in CAUSES, NONE where both are the same bits.

    `before` are the inputs as the lake was when the answers were given: a correction explains what they are identical
    with. `depends` are the views that an input changes with, `valued` those of which it takes more than how many events
    there were. Rows of `other_code` were made by another transform or for other inputs. What is not `traced` says
    nothing of its values: they are unknown unless the store could not be asked at all.
    """
    causes = np.full(served.shape, NONE, dtype=np.int8)
    for index in range(served.shape[1]):
        mine, theirs = served[:, index], offline[:, index]
        decided = np.full(len(mine), UNKNOWN, dtype=np.int8)
        names = sorted(depends.get(index, frozenset()))
        views = [evidence[name] for name in names]
        for name, view in zip(names, views, strict=True):
            if name in valued.get(index, frozenset()):
                _decide(decided, view.corrected & view.lost, view.correction)
        decided[rounded(mine, theirs) & traced] = CAST
        then = same_bits(mine, before[:, index])
        for view in views:
            _decide(decided, view.corrected & then, view.correction)
        for cause, flag in (
            (LATE, "other_events"), (STALE, "behind"), (MISSING, "nothing_found"), (DEFINITION, "other_definition"),
        ):  # fmt: skip
            for view in views:
                decided[getattr(view, flag)] = cause
        decided[other_code] = DEFINITION
        differs = ~same_bits(mine, theirs)
        causes[differs, index] = decided[differs]
    return causes


def _decide(decided: NDArray[np.int8], rows: Flags, causes: NDArray[np.int8]) -> None:
    decided[rows] = causes[rows]


def of_vectors(causes: NDArray[np.int8]) -> NDArray[np.int8]:
    """For each row the first cause among its inputs', but unknown if one is: explaining a part explains not the whole."""
    first = causes.min(axis=1, initial=NONE)
    return np.where((causes == UNKNOWN).any(axis=1), UNKNOWN, first).astype(np.int8)


def same_bits(left: Values, right: Values) -> Flags:
    """Where both are the same 64 bits; any NaN is like any other, because the log writes them all as null."""
    alike = np.ascontiguousarray(left).view(np.int64) == np.ascontiguousarray(right).view(np.int64)
    return np.asarray(alike | (np.isnan(left) & np.isnan(right)), dtype=np.bool_)


def rounded(served: Values, offline: Values) -> Flags:
    """Where they differ only as a cast to 32 bits or to a whole number would make them; to 0 is no rounding."""
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.abs(served - offline) <= _RELATIVE * np.maximum(np.abs(served), np.abs(offline))
        single = served.astype(np.float32) == offline.astype(np.float32)
        whole = (served != 0) & ((served == np.rint(offline)) | (served == np.trunc(offline)))
    return np.asarray((near | single | whole) & np.isfinite(served) & np.isfinite(offline), dtype=np.bool_)
