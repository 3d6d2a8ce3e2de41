"""MovieLens 100k as interactions, and the published figures that ours stand beside."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from jobs.retrieval.interactions import Interactions
from jobs.retrieval.two_stage import Attributes

DATA = Path(os.environ.get("TIDEMILL_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")) / "movielens_100k"
USERS, ITEMS = 943, 1_682
PUBLISHED = {
    "BiVAE": {"ndcg": 0.4687, "recall": 0.2209},
    "BPR": {"ndcg": 0.4450, "recall": 0.2166},
    "SAR": {"ndcg": 0.3938, "recall": 0.1854},
}
"""examples/06_benchmarks/movielens.ipynb of recommenders-team/recommenders at b02c95e: of each item a random 75 % to
learn from (seed 42), the best 10 unseen items of each user, every rating held back counts as taken."""
EASE = {"ndcg": 0.4795, "recall": 0.2282}
"""The best known before, on the same split: EASE with a regularisation of 200."""


def interactions() -> Interactions:
    """All ratings in the order they were published in, which random splits depend on."""
    table = _read("ratings.parquet").sort_by("orig_row")
    user, item = (table[name].to_numpy().astype(np.int64) - 1 for name in ("user_id", "item_id"))
    seconds = table["timestamp"].cast("timestamp[s]").cast("int64").to_numpy()
    rating = table["rating"].to_numpy().astype(np.int64)
    return Interactions(users=USERS, items=ITEMS, user=user, item=item, at=seconds, rating=rating)


def attributes() -> Attributes:
    """Genres and years of films; age, gender and occupation of users."""
    movies, users = _by_id("movies.parquet", "item_id"), _by_id("users.parquet", "user_id")
    genres = [set((text or "").split()) for text in movies["class"].to_pylist()]
    known = sorted(set().union(*genres))
    years = [int(text) if (text or "").isdigit() else 1995 for text in movies["release_year"].to_pylist()]
    return Attributes(
        topics=np.array([[genre in own for genre in known] for own in genres], dtype=np.float64),
        made=np.array(years, dtype=np.float64),
        age=np.array(users["age"].to_pylist(), dtype=np.float64),
        groups=[np.unique(users[name].to_pylist(), return_inverse=True)[1] for name in ("gender", "occupation")],
    )


def _by_id(name: str, key: str):
    table = _read(name)
    return table.take(pc.sort_indices(table[key].cast("int64")))


def _read(name: str):
    if not (DATA / name).is_file():
        pytest.skip(f"MovieLens 100k is not at {DATA}; set TIDEMILL_DATA to the folder that has movielens_100k")
    return pq.read_table(DATA / name)
