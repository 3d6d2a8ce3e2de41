"""What a slot answered lately, so that an explanation is one of the answer that was given."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

KEPT = 10_000


class Recent:
    """The last answers, at least KEPT and at most twice as many: each the row asked about, its vector and the answer.

    They are kept where the garbage collector need not look: vectors as arrays, rows and answers as structs.
    """

    def __init__(self) -> None:
        self._new: dict[Any, tuple[array[float], Any]] = {}
        self._old: dict[Any, tuple[array[float], Any]] = {}

    def keep(self, row: Any, vector: Sequence[float], answer: Any) -> None:
        """Remembers an answer in place of an earlier one to the same row."""
        if len(self._new) >= KEPT:
            self._old, self._new = self._new, {}
        self._new[row] = array("d", vector), answer

    def find(self, row: Any) -> tuple[Sequence[float], Any] | None:
        """The vector that was scored for the row and the answer, or None when it was not asked about lately."""
        return self._new.get(row) or self._old.get(row)
