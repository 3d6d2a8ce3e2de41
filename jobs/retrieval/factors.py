"""Items as vectors: what a viewer's latest items say of all others. Numpy and the index alone, for slots as well.

A viewer has no vector of their own. It is folded in from the items they took last, by the very step with which implicit
ALS makes users' vectors (Hu, Koren and Volinsky, Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008):
so that whoever is new has one after the first item, and a session moves it at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Items = NDArray[np.int64]
Floats = NDArray[np.float64]
SINGLE = NDArray[np.float32]
NOTHING = 0
"""The number of no item."""


@dataclass(frozen=True, kw_only=True)
class Factors:
    """A catalogue: each item's number and vector, and how often it was taken."""

    items: Items
    columns: Items
    """(items, columns): what each item is told by in a request, its number first."""
    vectors: SINGLE
    taken: Items
    alpha: float
    """How much surer an item that was taken is than one that was not."""
    regularisation: float

    @staticmethod
    def read(file: Path) -> Factors:
        """What `write` wrote; nothing in it is run."""
        with np.load(file, allow_pickle=False) as found:
            return Factors(
                items=found["items"],
                columns=found["columns"],
                vectors=found["vectors"],
                taken=found["taken"],
                alpha=float(found["alpha"]),
                regularisation=float(found["regularisation"]),
            )

    def write(self, file: Path) -> None:
        """The same catalogue gives the same bytes."""
        with file.open("wb") as to:
            np.savez(
                to,
                items=self.items,
                columns=self.columns,
                vectors=self.vectors,
                taken=self.taken,
                alpha=np.float64(self.alpha),
                regularisation=np.float64(self.regularisation),
            )

    @cached_property
    def popular(self) -> Items:
        """All items, the most taken first."""
        return np.asarray(self.items[np.lexsort((self.items, -self.taken))], dtype=np.int64)

    @cached_property
    def _gram(self) -> Floats:
        vectors = self.vectors.astype(np.float64)
        return np.asarray(vectors.T @ vectors, dtype=np.float64)

    def knows(self, item: int) -> bool:
        """Whether the item is one of the catalogue."""
        return item in self._place

    def of(self, items: Items) -> tuple[Items, Floats]:
        """The columns and the vectors of known items, a row each."""
        places = [self._place[item] for item in items.tolist()]
        return self.columns[places], self.vectors[places].astype(np.float64)

    @cached_property
    def _place(self) -> dict[int, int]:
        return {item: place for place, item in enumerate(self.items.tolist())}

    def fold_in(self, history: Items) -> SINGLE | None:
        """The vector of whoever took these items; None where none of them is known."""
        places = [self._place[item] for item in dict.fromkeys(history.tolist()) if item in self._place]
        if not places:
            return None
        theirs = self.vectors[places].astype(np.float64)
        left = self._gram + self.alpha * theirs.T @ theirs
        left[np.diag_indices(len(left))] += self.regularisation * len(places)
        found = np.linalg.solve(left, (1 + self.alpha) * theirs.sum(axis=0))
        return np.asarray(found, dtype=np.float32)
