"""What a slot answered lately, so that an explanation is one of the answer that was given."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

KEPT = 10_000


class Recent:
    """The last answers, at least KEPT and at most twice as many: each the row asked about, its vector and the answer.

    They are kept as bytes in two plain dictionaries: nothing in them is tracked by the garbage collector.
    """

    def __init__(self) -> None:
        self._new: dict[Any, tuple[bytes, Any]] = {}
        self._old: dict[Any, tuple[bytes, Any]] = {}

    def keep(self, row: Any, vector: bytes, answer: Any) -> None:
        """Remembers an answer in place of an earlier one to the same row."""
        if len(self._new) >= KEPT:
            self._old, self._new = self._new, {}
        self._new[row] = vector, answer

    def find(self, row: Any) -> tuple[NDArray[np.float64], Any] | None:
        """The vector that was scored for the row and the answer, or None when it was not asked about lately."""
        found = self._new.get(row) or self._old.get(row)
        return (np.frombuffer(found[0]), found[1]) if found else None
