"""The learners of retrieval: implicit ALS on Spark, and what is popular."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from jobs.retrieval import index
from jobs.retrieval.factors import Factors
from jobs.retrieval.index import catalogue
from jobs.training.learners import Array, Examples, Params


class ALS:
    """Alternating least squares on what was taken and what was not (Hu, Koren and Volinsky 2008), by Spark."""

    start: ClassVar[Params] = {"rank": 16, "alpha": 3.0, "regularisation": 0.3, "iterations": 10}

    def propose(self, trial: Any) -> dict[str, Any]:
        return {
            "rank": trial.suggest_int("rank", 6, 64, log=True),
            "alpha": trial.suggest_float("alpha", 0.5, 40.0, log=True),
            "regularisation": trial.suggest_float("regularisation", 0.01, 1.0, log=True),
            "iterations": trial.suggest_int("iterations", 5, 15),
        }

    def grow(self, params: Params, examples: Examples, watched: Array, seed: int) -> Iterator[tuple[int, Array]]:
        with tempfile.TemporaryDirectory() as scratch:
            self.save(self.fit(params, examples, 1, seed), Path(scratch), "grown")
            yield 1, catalogue(Path(scratch), {"file": "grown.npz"}).scores(watched)

    def fit(self, params: Params, examples: Examples, rounds: int, seed: int) -> Factors:
        return factorised(examples, params, seed)

    def save(self, model: Factors, folder: Path, name: str) -> str:
        model.write(folder / f"{name}.npz")
        if model.vectors.size:
            index.write(model, folder / f"{name}.voy")
        return f"{name}.npz"

    def export(self, model: Factors, folder: Path, name: str, vectors: Array, flags: int = 0) -> str | None:
        return f"{name}.voy" if model.vectors.size else None

    def importance(self, model: Factors, told: Sequence[str], flags: int = 0) -> dict[str, float]:
        return {}


class Popularity(ALS):
    """The baseline: everybody is offered what most took."""

    start: ClassVar[Params] = {}

    def propose(self, trial: Any) -> dict[str, Any]:
        return {}

    def fit(self, params: Params, examples: Examples, rounds: int, seed: int) -> Factors:
        columns, taken = _catalogue(examples)
        none = np.zeros((len(columns), 0), dtype=np.float32)
        return Factors(
            items=columns[:, 0], columns=columns, vectors=none, taken=taken, alpha=1.0, regularisation=1.0
        )  # fmt: skip


def factorised(examples: Examples, params: Mapping[str, Any], seed: int) -> Factors:
    """The items of the positives as Spark factorises them; users are the examples' groups.

    In one block, so that sums are always made in the same order and the same rows give the same bits.
    """
    import pyarrow as pa
    from pyspark.ml.recommendation import ALS as SparkALS

    from jobs.settings import Settings
    from jobs.spark import session

    user, item = _taken(examples)
    columns, taken = _catalogue(examples)
    places = np.searchsorted(columns[:, 0], item)
    spark = session(Settings.load())
    table = pa.table({"user": user.astype(np.int32), "item": places.astype(np.int32)})
    pairs = spark.createDataFrame(table.to_pandas().value_counts(sort=False).rename("count").reset_index())
    model = SparkALS(
        rank=int(params["rank"]), maxIter=int(params["iterations"]), regParam=float(params["regularisation"]),
        alpha=float(params["alpha"]), implicitPrefs=True, nonnegative=False, seed=seed % 2**31,
        userCol="user", itemCol="item", ratingCol="count", numUserBlocks=1, numItemBlocks=1,
    ).fit(pairs.coalesce(1))  # fmt: skip
    found = model.itemFactors.toPandas()
    vectors = np.zeros((len(columns), int(params["rank"])))
    vectors[found["id"].to_numpy()] = np.array(found["features"].tolist())
    return Factors(
        items=columns[:, 0],
        columns=columns,
        vectors=_warmed(vectors, columns[:, 1:], taken).astype(np.float32),
        taken=taken,
        alpha=float(params["alpha"]),
        regularisation=float(params["regularisation"]),
    )


def _warmed(vectors: Array, content: Array, taken: Array) -> Array:
    """Items that nobody took yet have the mean vector of those that are told by the same first column."""
    known = taken > 0
    for place in np.flatnonzero(~known) if content.shape[1] else ():
        alike = known & (content[:, 0] == content[place, 0])
        if alike.any():
            vectors[place] = vectors[alike].mean(axis=0)
    return vectors


def _catalogue(examples: Examples) -> tuple[Array, Array]:
    """Every item that was shown, ordered by its number, with its own columns; and how often each was taken."""
    shown, first = np.unique(examples.x[:, 0].astype(np.int64), return_index=True)
    _, item = _taken(examples)
    taken = np.bincount(np.searchsorted(shown, item), minlength=len(shown)).astype(np.int64)
    return examples.x[first, : max(examples.item, 1)].astype(np.int64), taken


def _taken(examples: Examples) -> tuple[Array, Array]:
    """User and item of each positive; the item is the first column."""
    sizes = examples.groups if examples.groups is not None else np.ones(len(examples.y), dtype=np.int64)
    positive = np.asarray(examples.y) > 0
    return np.repeat(np.arange(len(sizes)), sizes)[positive], examples.x[positive, 0].astype(np.int64)
