"""Candidates by several similarities, then a ranker that learned from items held back from them (cross-fitting).

What a similarity says of the very items it learned from is no guide to new ones. So each fold's rows are held back,
the similarities learn from the rest, and the ranker learns which of their candidates the held-back rows are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.retrieval import similarity
from jobs.retrieval.interactions import Flags, Interactions

Plane = NDArray[np.float32]
"""A number for each user (row) and item (column)."""
CANDIDATES: Mapping[str, int] = {"ease_800": 60, "together": 30}
"""How many of the best unseen items of each retrieval are ranked."""
PARAMETERS: Mapping[str, Any] = {
    "objective": "lambdarank", "lambdarank_truncation_level": 20, "num_leaves": 8, "learning_rate": 0.04,
    "min_data_in_leaf": 100, "feature_fraction": 0.5, "bagging_fraction": 0.7, "bagging_freq": 1, "lambda_l2": 5.0,
    "max_bin": 127, "deterministic": True, "force_row_wise": True, "num_threads": 1, "verbosity": -1,
}  # fmt: skip
ROUNDS = 60
_DAY = 86_400.0
_SEASON = 30.0
"""Days over which what users take around the same time is alike."""


@dataclass(frozen=True, kw_only=True)
class Attributes:
    """What is known of users and items besides what they took."""

    topics: NDArray[np.float64]
    """Items by topics, 1 where an item has it."""
    made: NDArray[np.float64]
    """The year of each item."""
    age: NDArray[np.float64]
    groups: Sequence[NDArray[np.int64]]
    """Groups that users belong to, one number a user for each kind of group."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Candidates of all users, those of a user one after the other, and what is known about each."""

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    columns: NDArray[np.float32]


class TwoStage:
    """Fitted on interactions: the ranker, and the interactions that its features come from."""

    def __init__(self, of: Interactions, attributes: Attributes, folds: Sequence[Flags], seeds: Sequence[int]) -> None:
        import lightgbm

        tables = [(candidates(of.where(kept), attributes), of.where(~kept).unseen) for kept in folds]
        columns = np.concatenate([table.columns for table, _ in tables])
        taken = np.concatenate([~unseen[table.user, table.item] for table, unseen in tables]).astype(np.int32)
        sizes = np.concatenate([np.unique(table.user, return_counts=True)[1] for table, _ in tables])
        rows = lightgbm.Dataset(columns, taken, group=sizes, params=dict(PARAMETERS), free_raw_data=False)
        self._of, self._attributes = of, attributes
        self._rankers = [lightgbm.train({**PARAMETERS, "seed": seed}, rows, ROUNDS) for seed in seeds]

    def scores(self) -> Plane:
        """How each user's candidates rank among each other; minus infinity for everything else."""
        table = candidates(self._of, self._attributes)
        plane = np.full((self._of.users, self._of.items), -np.inf, dtype=np.float32)
        plane[table.user, table.item] = sum(ranker.predict(table.columns, num_threads=1) for ranker in self._rankers)
        return plane


def candidates(of: Interactions, attributes: Attributes) -> Table:
    """The best unseen items by each retrieval, with every feature of user, item, both, and the time of asking."""
    scores = retrievals(of)
    chosen = np.zeros((of.users, of.items), dtype=np.bool_)
    columns: list[Plane] = []
    for name, plane in scores.items():
        place = _places(plane, of)
        if name in CANDIDATES:
            chosen |= of.unseen & (place < CANDIDATES[name])
        columns += [plane, _standardised(plane, of), place]
    columns += _features(of, attributes)
    user, item = np.nonzero(chosen)
    rows = np.column_stack([np.broadcast_to(plane, chosen.shape)[user, item] for plane in columns])
    return Table(user=user, item=item, columns=rows.astype(np.float32))


def retrievals(of: Interactions) -> Mapping[str, Plane]:
    """Each user's items as every similarity scores them."""
    taken = np.maximum(np.asarray(of.seen.sum(axis=0)).ravel(), 1.0)
    close = similarity.together(of, 60.0)
    return {
        "ease_300": _by(of, similarity.ease(of, 300.0)),
        "ease_800": _by(of, similarity.ease(of, 800.0)),
        "random_walk": _by(of, similarity.random_walk(of, 0.6)),
        "jaccard": _by(of, similarity.jaccard(of)),
        "together": _by(of, close / np.sqrt(np.outer(taken, taken))),
    }


def _by(of: Interactions, weights: similarity.Weights) -> Plane:
    return np.asarray(of.seen @ weights, dtype=np.float32)


def _features(of: Interactions, attributes: Attributes) -> list[Plane]:
    """User, item, both together, and what is going on when the user comes: columns, rows or whole planes."""
    seen = of.seen.toarray()
    taken, took = seen.sum(axis=0), np.maximum(seen.sum(axis=1, keepdims=True), 1.0)
    share = taken / of.users
    rating = np.zeros_like(seen)
    rating[of.user, of.item] = of.rating
    item_rating = (rating.sum(axis=0) + 5 * of.rating.mean()) / (taken + 5)
    user_rating = (rating.sum(axis=1, keepdims=True) + 5 * of.rating.mean()) / (took + 5)

    topics = attributes.topics / np.maximum(attributes.topics.sum(axis=1, keepdims=True), 1.0)
    mine = seen @ attributes.topics
    usual = taken @ attributes.topics / max(taken.sum(), 1.0)
    liked = np.where(seen > 0, rating - user_rating, 0.0) @ attributes.topics / (mine + 5)
    columns = [taken, took, item_rating, mine / took / (usual + 0.01) @ topics.T, liked @ topics.T]
    columns.append(attributes.made - seen @ attributes.made[:, None] / took)
    columns.append(
        np.abs(attributes.age[:, None] - (attributes.age @ seen + 10 * attributes.age.mean()) / (taken + 10))
    )
    for group in attributes.groups:
        member = np.eye(group.max() + 1)[group]
        columns.append(_lift(member.T @ seen, member.sum(axis=0)[:, None], share)[group])

    came, last = _visits(of)
    season = np.exp(-0.5 * ((came[:, None] - came) / _SEASON) ** 2)
    np.fill_diagonal(season, 0.0)
    now, present = season @ seen, season.sum(axis=1, keepdims=True)
    first = np.full(of.items, np.inf)
    np.minimum.at(first, of.item, of.at / _DAY)
    age = last[:, None] - np.where(np.isfinite(first), first, last.max())
    columns += [now / np.maximum(present, 1e-9), _lift(now, present, share), age]
    return [np.asarray(column, dtype=np.float32) for column in columns]


def _lift(count: NDArray[np.float64], users: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many times as often some users take an item as all do; few users say little."""
    return np.asarray((count + 5 * share) / (users + 5) / (share + 1e-3), dtype=np.float64)


def _visits(of: Interactions) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The middle and the last day of each user's interactions; of users without any those of all."""
    order = np.argsort(of.user, kind="stable")
    parts = np.split(of.at[order] / _DAY, np.cumsum(np.bincount(of.user, minlength=of.users))[:-1])
    parts = [part if len(part) else of.at / _DAY for part in parts]
    return np.array([np.median(part) for part in parts]), np.array([part.max() for part in parts])


def _standardised(plane: Plane, of: Interactions) -> Plane:
    """Each user's scores in standard deviations from the mean of their unseen items."""
    unseen = np.where(of.unseen, plane, np.nan).astype(np.float64)
    mean, deviation = np.nanmean(unseen, axis=1, keepdims=True), np.nanstd(unseen, axis=1, keepdims=True)
    return np.asarray((plane - mean) / (deviation + 1e-9), dtype=np.float32)


def _places(plane: Plane, of: Interactions) -> Plane:
    """The place of each item in its user's order, 0 for the best unseen one."""
    order = np.argsort(-np.where(of.unseen, plane, -np.inf), axis=1, kind="stable")
    places = np.empty_like(plane)
    np.put_along_axis(places, order, np.arange(of.items, dtype=np.float32)[None, :], axis=1)
    return places
