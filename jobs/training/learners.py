"""How each library learns, in the order a tuning needs it: propose, grow, fit, save.

What they learn is the task's (`jobs.training.tasks`). Everything else that decides the result is pinned here, the
number of threads included, so that the same rows give the same bytes. Files are native (ubj, text, JSON, ONNX): nothing that runs code when read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from jobs.flags import BITS as FLAGS
from jobs.release.bits import folded, sparse
from jobs.training.exports import onnx_of, settled

Params = Mapping[str, Any]
Array = NDArray[Any]
LOOKS = 20
"""How often a growing model is looked at: at most so many times `STEP` trees."""
STEP = 20
BINS = 1_024
"""Of each input's values: with fewer, the last of a heavy-tailed amount is too wide to cut where it matters."""
THREADS = 1
"""More would be slower on a busy small machine, and their number decides the result."""


@dataclass(frozen=True, kw_only=True)
class Examples:
    """What a model learns from."""

    x: NDArray[np.float64]
    y: Array
    weight: NDArray[np.float64] | None = None
    increasing: Sequence[bool] = ()
    """For each column, whether more of it may only raise the score; empty where none is so bound."""
    flags: int = 0
    """How many of the last columns are numbers of flags."""
    classes: int = 0
    """How many classes there are; 0 where a row has one margin."""
    item: int = 0
    """How many of the first columns are an item's own."""
    groups: NDArray[np.int64] | None = None
    """How many rows each group has, whose rows follow one another and weigh the same; None where rows stand alone."""

    @property
    def bound(self) -> list[int]:
        """`increasing` for each column that is learned from, 0 or 1; empty where none is bound."""
        if not any(self.increasing):
            return []
        plain = len(self.increasing) - self.flags
        return [*map(int, self.increasing[:plain]), *[0] * (self.flags * FLAGS)]

    @property
    def several(self) -> dict[str, int]:
        """What libraries have to be told of more than one margin."""
        return {"num_class": self.classes} if self.classes else {}


class Learner(Protocol):
    """A library: what a tuning tries, and how a chosen configuration is fitted and kept."""

    start: ClassVar[Params]
    """The configuration that is tried first."""

    def propose(self, trial: Any) -> dict[str, Any]:
        """The parameters of one Optuna trial."""

    def grow(self, params: Params, examples: Examples, watched: Array, seed: int) -> Iterator[tuple[int, Array]]:
        """After every few rounds: how many, and the log-odds of the watched rows."""

    def fit(self, params: Params, examples: Examples, rounds: int, seed: int) -> Any:
        """The model with that many rounds."""

    def save(self, model: Any, folder: Path, name: str) -> str:
        """The name of the native file written."""

    def export(self, model: Any, folder: Path, name: str, vectors: Array, flags: int = 0) -> str | None:
        """The name of the file written for scoring few rows, None if there is no need; tried on `vectors`."""

    def importance(self, model: Any, told: Sequence[str], flags: int = 0) -> dict[str, float]:
        """The share of the total gain of each input as `Model.told` names them; `flags` are the numbers of flags."""


class XGBoost:
    """Histogram trees, one or a few a round; scored through ONNX when rows are few."""

    def __init__(self, *, objective: Params) -> None:
        self._objective = objective

    forest: ClassVar[int] = 3
    """The most trees a round, each of a draw of its own; a tuning looks after as many trees, whatever their number."""
    start: ClassVar[Params] = {
        "max_depth": 4, "eta": 0.08, "min_child_weight": 1.0, "subsample": 0.8, "colsample_bynode": 0.4,
        "lambda": 1.0, "num_parallel_tree": 1,
    }  # fmt: skip

    def propose(self, trial: Any) -> dict[str, Any]:
        return {
            "max_depth": trial.suggest_int("max_depth", 2, 6),
            "eta": trial.suggest_float("eta", 0.04, 0.2, log=True),
            "min_child_weight": trial.suggest_float("min_child_weight", 0.3, 20, log=True),
            "subsample": trial.suggest_float("subsample", 0.5, 1.0),
            "colsample_bynode": trial.suggest_float("colsample_bynode", 0.25, 1.0),
            "lambda": trial.suggest_float("lambda", 0.3, 30, log=True),
            "num_parallel_tree": trial.suggest_int("num_parallel_tree", 1, self.forest),
        }

    def pinned(self, params: Params, increasing: Sequence[int], seed: int) -> dict[str, Any]:
        """The parameters with everything else that decides the result."""
        bound = {"monotone_constraints": "(" + ",".join(str(int(one)) for one in increasing) + ")"}
        return {
            **self._objective,
            **params,
            **(bound if any(increasing) else {}),
            "tree_method": "hist",
            "device": "cpu",
            "max_bin": BINS,
            "seed": seed,
            "nthread": THREADS,
            "verbosity": 0,
        }

    def _rows(self, params: Params, examples: Examples) -> Any:
        import xgboost

        x = sparse(examples.x, examples.flags)
        rows = xgboost.QuantileDMatrix(x, examples.y, weight=examples.weight, max_bin=BINS, nthread=THREADS)
        if examples.groups is not None and params["objective"].startswith("rank:"):  # weights are then the groups'
            rows.set_info(group=examples.groups, weight=_of_groups(examples))
        return rows

    def _begun(self, params: Params, examples: Examples, seed: int) -> dict[str, Any]:
        return {**self.pinned(params, examples.bound, seed), **examples.several}

    def grow(self, params: Params, examples: Examples, watched: Array, seed: int) -> Iterator[tuple[int, Array]]:
        import xgboost

        pinned = self._begun(params, examples, seed)
        rows, held = self._rows(pinned, examples), xgboost.DMatrix(sparse(watched, examples.flags), nthread=THREADS)
        booster = xgboost.Booster(pinned, [rows, held])
        step = max(STEP // int(params.get("num_parallel_tree", 1)), 1)
        for rounds in range(1, step * LOOKS + 1):
            booster.update(rows, rounds - 1)
            if rounds % step == 0:
                yield rounds, np.asarray(booster.predict(held, output_margin=True), dtype=np.float64)

    def fit(self, params: Params, examples: Examples, rounds: int, seed: int) -> Any:
        import xgboost

        pinned = self._begun(params, examples, seed)
        return settled(xgboost.train(pinned, self._rows(pinned, examples), rounds))

    def save(self, model: Any, folder: Path, name: str) -> str:
        model.save_model(folder / f"{name}.ubj")
        return f"{name}.ubj"

    def export(self, model: Any, folder: Path, name: str, vectors: Array, flags: int = 0) -> str | None:
        (folder / f"{name}.onnx").write_bytes(onnx_of(model, vectors, flags))
        return f"{name}.onnx"

    def importance(self, model: Any, told: Sequence[str], flags: int = 0) -> dict[str, float]:
        gain = model.get_score(importance_type="total_gain")
        return _shares([float(gain.get(f"f{column}", 0.0)) for column in range(model.num_features())], told, flags)


class LightGBM:
    """Leaf-wise trees, forced into their deterministic mode."""

    def __init__(self, *, objective: Params) -> None:
        self._objective = objective

    start: ClassVar[Params] = {
        "num_leaves": 12, "learning_rate": 0.08, "min_data_in_leaf": 20, "bagging_fraction": 0.8,
        "feature_fraction": 0.7, "lambda_l2": 1.0,
    }  # fmt: skip

    def propose(self, trial: Any) -> dict[str, Any]:
        return {
            "num_leaves": trial.suggest_int("num_leaves", 4, 48, log=True),
            "learning_rate": trial.suggest_float("learning_rate", 0.03, 0.3, log=True),
            "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 5, 200, log=True),
            "bagging_fraction": trial.suggest_float("bagging_fraction", 0.4, 1.0),
            "feature_fraction": trial.suggest_float("feature_fraction", 0.3, 1.0),
            "lambda_l2": trial.suggest_float("lambda_l2", 0.1, 30, log=True),
        }

    def _pinned(self, params: Params, examples: Examples, seed: int) -> dict[str, Any]:
        bound = {"monotone_constraints": examples.bound} if examples.bound else {}
        return {
            **self._objective,
            **examples.several,
            **params,
            **bound,
            "bagging_freq": 1,
            "max_bin": BINS - 1,
            "feature_pre_filter": False,
            "deterministic": True,
            "force_row_wise": True,
            "seed": seed,
            "num_threads": THREADS,
            "verbosity": -1,
        }

    def _begun(self, params: Params, examples: Examples, seed: int) -> Any:
        import lightgbm

        pinned = self._pinned(params, examples, seed)
        x = sparse(examples.x, examples.flags)
        rows = lightgbm.Dataset(x, examples.y, weight=examples.weight, group=examples.groups, params=pinned)
        return lightgbm.Booster(pinned, rows)

    def grow(self, params: Params, examples: Examples, watched: Array, seed: int) -> Iterator[tuple[int, Array]]:
        booster, margins = self._begun(params, examples, seed), np.zeros((len(watched), examples.classes or 1))
        held = sparse(watched, examples.flags)
        for rounds in range(1, STEP * LOOKS + 1):
            booster.update()
            if rounds % STEP == 0:
                newest = {"start_iteration": rounds - STEP, "num_iteration": STEP, "num_threads": THREADS}
                margins = margins + booster.predict(held, raw_score=True, **newest).reshape(margins.shape)
                yield rounds, margins if examples.classes else margins[:, 0]

    def fit(self, params: Params, examples: Examples, rounds: int, seed: int) -> Any:
        booster = self._begun(params, examples, seed)
        for _ in range(rounds):
            booster.update()
        return booster

    def save(self, model: Any, folder: Path, name: str) -> str:
        model.save_model(folder / f"{name}.txt")
        return f"{name}.txt"

    def export(self, model: Any, folder: Path, name: str, vectors: Array, flags: int = 0) -> str | None:
        return None

    def importance(self, model: Any, told: Sequence[str], flags: int = 0) -> dict[str, float]:
        return _shares(model.feature_importance(importance_type="gain"), told, flags)


class LogisticRegression:
    """The linear baseline, on standardised inputs; nothing of it is tuned."""

    start: ClassVar[Params] = {}

    def propose(self, trial: Any) -> dict[str, Any]:
        return {}

    def grow(self, params: Params, examples: Examples, watched: Array, seed: int) -> Iterator[tuple[int, Array]]:
        model = self.fit(params, examples, 1, seed)
        scaled = (watched - np.asarray(model["mean"])) / np.asarray(model["scale"])
        wide = sparse(scaled, examples.flags)
        yield 1, np.asarray(wide @ np.asarray(model["coefficients"]).T + np.asarray(model["intercept"]))

    def fit(self, params: Params, examples: Examples, rounds: int, seed: int) -> Any:
        from sklearn.linear_model import LogisticRegression as Regression

        mean, scale = examples.x.mean(axis=0), examples.x.std(axis=0)
        scale[scale == 0] = 1.0
        if examples.flags:  # they are 0 or 1 already, and stay few
            mean[-examples.flags :], scale[-examples.flags :] = 0.0, 1.0
        model = Regression(C=1.0, max_iter=1_000).fit(
            sparse((examples.x - mean) / scale, examples.flags), examples.y, sample_weight=examples.weight
        )
        one = not examples.classes
        return {
            "mean": mean.tolist(),
            "scale": scale.tolist(),
            "coefficients": (model.coef_[0] if one else model.coef_).tolist(),
            "intercept": float(model.intercept_[0]) if one else model.intercept_.tolist(),
        }

    def save(self, model: Any, folder: Path, name: str) -> str:
        (folder / f"{name}.json").write_text(json.dumps(model, indent=1))
        return f"{name}.json"

    def export(self, model: Any, folder: Path, name: str, vectors: Array, flags: int = 0) -> str | None:
        return None

    def importance(self, model: Any, told: Sequence[str], flags: int = 0) -> dict[str, float]:
        return {}


def _of_groups(examples: Examples) -> Array | None:
    """The weight of each group: that of its first row."""
    if examples.weight is None or examples.groups is None:
        return None
    starts = np.cumsum(examples.groups) - examples.groups
    return np.asarray(examples.weight[starts], dtype=np.float64)


def _shares(gain: Sequence[float], told: Sequence[str], flags: int) -> dict[str, float]:
    """Each input's share of the gains of the columns that were learned from; all flags are one."""
    whole = folded(np.asarray(gain, dtype=np.float64), len(told) - 1, flags)
    total = float(whole.sum()) or 1.0
    return {name: float(value) / total for name, value in zip(told, whole, strict=True)}
