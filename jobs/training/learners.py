"""How each library learns, in the order a tuning needs it: propose, grow, fit, save.

Everything that decides the result is pinned here, the number of threads included, so that the same
rows give the same bytes. Files are native (ubj, text, JSON, ONNX): nothing that runs code when read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jobs.errors import TidemillError

Params = Mapping[str, Any]
Array = NDArray[Any]
MAXIMUM_ROUNDS, STEP = 300, 20
THREADS = 1
"""More would be slower on a busy small machine, and their number decides the result."""
ONNX_TOLERANCE = 1e-5


class Learner(Protocol):
    """A boosting library: what a tuning tries and how a chosen configuration is fitted and kept."""

    def propose(self, trial: Any) -> dict[str, Any]:
        """The parameters of one Optuna trial."""

    def grow(self, params: Params, x: Array, y: Array, watched: Array, seed: int) -> Iterator[tuple[int, Array]]:
        """After every few rounds: how many, and the scores of the watched rows."""

    def fit(self, params: Params, x: Array, y: Array, rounds: int, seed: int) -> Any:
        """The model with that many rounds."""

    def save(self, booster: Any, folder: Path, name: str, vectors: Array) -> dict[str, Any]:
        """The manifest entry of the files written; `vectors` are what exports are compared on."""

    def importance(self, booster: Any, inputs: tuple[str, ...]) -> dict[str, float]:
        """Each input's share of the total gain."""


class XGBoost:
    """Histogram trees; scored through ONNX when rows are few."""

    def propose(self, trial: Any) -> dict[str, Any]:
        return {
            "max_depth": trial.suggest_int("max_depth", 3, 8),
            "eta": trial.suggest_float("eta", 0.03, 0.3, log=True),
            "min_child_weight": trial.suggest_float("min_child_weight", 1, 50, log=True),
            "subsample": trial.suggest_float("subsample", 0.6, 1.0),
            "colsample_bytree": trial.suggest_float("colsample_bytree", 0.5, 1.0),
            "lambda": trial.suggest_float("lambda", 0.1, 10, log=True),
        }

    def _pinned(self, params: Params, y: Array, seed: int) -> dict[str, Any]:
        return {
            **params,
            "objective": "binary:logistic",
            "tree_method": "hist",
            "device": "cpu",
            "max_bin": 256,
            "base_score": round(float(np.mean(y)), 9),
            "seed": seed,
            "nthread": THREADS,
            "verbosity": 0,
        }

    def grow(self, params: Params, x: Array, y: Array, watched: Array, seed: int) -> Iterator[tuple[int, Array]]:
        import xgboost

        train = xgboost.QuantileDMatrix(x, y, max_bin=256, nthread=THREADS)
        held = xgboost.DMatrix(watched, nthread=THREADS)
        booster = xgboost.Booster(self._pinned(params, y, seed), [train, held])
        for rounds in range(1, MAXIMUM_ROUNDS + 1):
            booster.update(train, rounds - 1)
            if rounds % STEP == 0:
                yield rounds, np.asarray(booster.predict(held), dtype=np.float64)

    def fit(self, params: Params, x: Array, y: Array, rounds: int, seed: int) -> Any:
        import xgboost

        train = xgboost.QuantileDMatrix(x, y, max_bin=256, nthread=THREADS)
        return xgboost.train(self._pinned(params, y, seed), train, rounds)

    def save(self, booster: Any, folder: Path, name: str, vectors: Array) -> dict[str, Any]:
        booster.save_model(folder / f"{name}.ubj")
        (folder / f"{name}.onnx").write_bytes(_onnx(booster, vectors))
        return {"file": f"{name}.ubj", "scorer_file": f"{name}.onnx"}

    def importance(self, booster: Any, inputs: tuple[str, ...]) -> dict[str, float]:
        gain = booster.get_score(importance_type="total_gain")
        return _shares({name: float(gain.get(f"f{column}", 0.0)) for column, name in enumerate(inputs)})


class LightGBM:
    """Leaf-wise trees, forced into their deterministic mode."""

    def propose(self, trial: Any) -> dict[str, Any]:
        return {
            "num_leaves": trial.suggest_int("num_leaves", 8, 96, log=True),
            "learning_rate": trial.suggest_float("learning_rate", 0.03, 0.3, log=True),
            "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 10, 200, log=True),
            "bagging_fraction": trial.suggest_float("bagging_fraction", 0.6, 1.0),
            "feature_fraction": trial.suggest_float("feature_fraction", 0.5, 1.0),
            "lambda_l2": trial.suggest_float("lambda_l2", 0.1, 10, log=True),
        }

    def _pinned(self, params: Params, seed: int) -> dict[str, Any]:
        return {
            **params,
            "objective": "binary",
            "bagging_freq": 1,
            "max_bin": 255,
            "feature_pre_filter": False,
            "deterministic": True,
            "force_row_wise": True,
            "seed": seed,
            "num_threads": THREADS,
            "verbosity": -1,
        }

    def grow(self, params: Params, x: Array, y: Array, watched: Array, seed: int) -> Iterator[tuple[int, Array]]:
        import lightgbm

        pinned = self._pinned(params, seed)
        booster = lightgbm.Booster(pinned, lightgbm.Dataset(x, y, params=pinned))
        margins = np.zeros(len(watched))
        for rounds in range(1, MAXIMUM_ROUNDS + 1):
            booster.update()
            if rounds % STEP == 0:
                newest = {"start_iteration": rounds - STEP, "num_iteration": STEP, "num_threads": THREADS}
                margins += booster.predict(watched, raw_score=True, **newest)
                yield rounds, 1 / (1 + np.exp(-margins))

    def fit(self, params: Params, x: Array, y: Array, rounds: int, seed: int) -> Any:
        import lightgbm

        pinned = self._pinned(params, seed)
        return lightgbm.train(pinned, lightgbm.Dataset(x, y, params=pinned), rounds)

    def save(self, booster: Any, folder: Path, name: str, vectors: Array) -> dict[str, Any]:
        booster.save_model(folder / f"{name}.txt")
        return {"file": f"{name}.txt", "scorer_file": None}

    def importance(self, booster: Any, inputs: tuple[str, ...]) -> dict[str, float]:
        gain = booster.feature_importance(importance_type="gain")
        return _shares(dict(zip(inputs, map(float, gain), strict=True)))


LEARNERS: dict[str, Learner] = {"xgboost": XGBoost(), "lightgbm": LightGBM()}


def save_logistic_regression(folder: Path, name: str, x: Array, y: Array) -> dict[str, Any]:
    """Fits the linear baseline on standardised inputs and keeps its coefficients as JSON; the manifest entry."""
    from sklearn.linear_model import LogisticRegression

    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale == 0] = 1.0
    model = LogisticRegression(C=1.0, max_iter=1_000).fit((x - mean) / scale, y)
    document = {
        "mean": mean.tolist(),
        "scale": scale.tolist(),
        "coefficients": model.coef_[0].tolist(),
        "intercept": float(model.intercept_[0]),
    }
    (folder / f"{name}.json").write_text(json.dumps(document, indent=1))
    return {"file": f"{name}.json", "scorer_file": None}


def _shares(gain: dict[str, float]) -> dict[str, float]:
    total = sum(gain.values()) or 1.0
    return {name: value / total for name, value in gain.items()}


def _onnx(booster: Any, vectors: Array) -> bytes:
    import onnxruntime
    from onnxmltools.convert import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    model = convert_xgboost(
        booster, initial_types=[("vectors", FloatTensorType([None, vectors.shape[1]]))], target_opset=15
    )
    model.graph.name = "xgboost"  # a random one by default, and equal models must have equal bytes
    exported: bytes = model.SerializeToString(deterministic=True)
    singles = np.ascontiguousarray(vectors, dtype=np.float32)
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    scores = session.run([session.get_outputs()[-1].name], {"vectors": singles})[0][:, -1]
    furthest = float(np.abs(scores - booster.inplace_predict(singles)).max())
    if not furthest <= ONNX_TOLERANCE:
        raise TidemillError(
            f"the ONNX export scores up to {furthest:.3g} away from XGBoost, more than {ONNX_TOLERANCE}; "
            "nothing was published. The installed onnxmltools does not fit the installed xgboost: see requirements/jobs.txt"
        )
    return exported
