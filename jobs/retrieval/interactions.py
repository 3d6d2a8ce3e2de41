"""Who took what, when: the one thing that candidates are found by; and ways to part it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Interactions:
    """One row for each time a user took an item; users and items are numbers from 0."""

    users: int
    items: int
    user: Ints
    item: Ints
    at: Ints
    """Seconds since 1970 UTC."""
    rating: Ints
    """How much it was liked, in whole steps; the same everywhere where nobody says."""

    def where(self, rows: NDArray[Any]) -> Interactions:
        """Some of the rows, of the same users and items."""
        kept = {one.name: getattr(self, one.name)[rows] for one in fields(self) if one.name not in ("users", "items")}
        return Interactions(users=self.users, items=self.items, **kept)

    @cached_property
    def seen(self) -> Any:
        """The users' items: a sparse matrix of ones, a row for each user."""
        from scipy.sparse import csr_matrix

        ones = np.ones(len(self.user), dtype=np.float64)
        matrix = csr_matrix((ones, (self.user, self.item)), (self.users, self.items))
        matrix.data[:] = 1.0
        return matrix

    @cached_property
    def unseen(self) -> Flags:
        """Which items a user may still be shown, a row for each user."""
        return np.asarray(self.seen.toarray() == 0)

    def __len__(self) -> int:
        return len(self.user)


def random_by_item(of: Interactions, share: float, seed: int) -> Flags:
    """Which rows to keep: of each item the same share, drawn at random.

    What `python_stratified_split(filter_by="item")` of recommenders-team/recommenders does for rows in their first order.
    """
    return _first_of(of.item, np.random.RandomState(seed).rand(len(of)), share)


def earliest_by_user(of: Interactions, share: float) -> Flags:
    """Which rows to keep: of each user the same share, those that came first."""
    return _first_of(of.user, of.at, share)


def folds_by_item(of: Interactions, count: int, seed: int) -> list[Flags]:
    """For each fold the rows to keep: those of an item are dealt out in turn, so that each is left out once."""
    generator = np.random.default_rng(seed)
    order = np.lexsort((generator.random(len(of)), of.item))
    dealt = np.empty(len(of), dtype=np.int64)
    dealt[order] = (_places(of.item[order]) + generator.integers(0, count, of.items)[of.item[order]]) % count
    return [dealt != fold for fold in range(count)]


def _first_of(group: Ints, key: NDArray[Any], share: float) -> Flags:
    order = np.lexsort((key, group))
    kept = np.empty(len(group), dtype=np.bool_)
    kept[order] = _places(group[order]) < np.round(share * np.bincount(group)[group[order]])
    return kept


def _places(group: Ints) -> Ints:
    """How many rows of the same group come before each row; equal groups lie together."""
    begins = np.flatnonzero(np.diff(group, prepend=-1))
    lengths = np.diff(begins, append=len(group))
    return np.asarray(np.arange(len(group)) - np.repeat(begins, lengths), dtype=np.int64)
