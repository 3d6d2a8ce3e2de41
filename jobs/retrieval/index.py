"""The approximate nearest neighbours of a vector among a catalogue's items: by voyager, which serves Spotify's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.retrieval.factors import NOTHING, SINGLE, Factors, Items

LINKS, BUILDING, SEARCHING = 24, 400, 1_000
"""Of each item, and of the lists that are kept while the index is built and searched: what recall costs time."""
DEPTH = 500
"""Places beyond this are not told apart."""


def write(factors: Factors, file: Path) -> None:
    """The index of a catalogue; the same catalogue gives the same bytes."""
    from voyager import Index, Space

    index = Index(
        Space.InnerProduct,
        num_dimensions=factors.vectors.shape[1],
        M=LINKS,
        ef_construction=BUILDING,
        random_seed=1,
        max_elements=len(factors.items),
    )
    index.add_items(factors.vectors, ids=factors.items.astype(np.uint64), num_threads=1)
    with file.open("wb") as to:
        index.save(to)


class Catalogue:
    """The items of a release, found by what a viewer took; without an index the most popular ones."""

    def __init__(self, factors: Factors, file: Path | None) -> None:
        self.factors = factors
        self._index: Any = None
        if file is not None:
            from voyager import Index

            with file.open("rb") as found:
                self._index = Index.load(found)

    def best(self, history: Items, count: int) -> Items:
        """The items for whoever took these, best first, without these: the most popular where none is known."""
        had = {item for item in history.tolist() if item != NOTHING}
        vector = self.factors.fold_in(history) if self._index else None
        wanted = min(count + len(had), len(self.factors.items))
        found = self.factors.popular[:wanted] if vector is None else self._nearest(vector, wanted)
        return np.array([item for item in found.tolist() if item not in had][:count], dtype=np.int64)

    def scores(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """For each row 1 over the place of its item, the first column, among the best for whoever took the last ones.

        An item beyond place DEPTH is as good as last.
        """
        histories, same = np.unique(
            vectors[:, self.factors.columns.shape[1] :].astype(np.int64), axis=0, return_inverse=True
        )
        items, scores = vectors[:, 0].astype(np.int64), np.full(len(vectors), 1.0 / (len(self.factors.items) + DEPTH))
        order = np.argsort(same.ravel(), kind="stable")
        for history, rows in zip(histories, np.split(order, np.cumsum(np.bincount(same.ravel()))[:-1]), strict=True):
            place = {item: place for place, item in enumerate(self.best(history, DEPTH).tolist(), start=1)}
            for row in rows.tolist():
                if items[row] in place:
                    scores[row] = 1.0 / place[items[row]]
        return scores

    def _nearest(self, vector: SINGLE, count: int) -> Items:
        found, _ = self._index.query(vector, k=count, num_threads=1, query_ef=max(SEARCHING, count))
        return np.asarray(found, dtype=np.int64)


def catalogue(folder: Path, entry: Mapping[str, Any]) -> Catalogue:
    """The catalogue that a manifest's entry names; its index lies beside it, where it has one."""
    file = folder / str(entry["file"])
    beside = file.with_suffix(".voy")
    return Catalogue(Factors.read(file), beside if beside.exists() else None)
