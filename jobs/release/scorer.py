"""Scores vectors with a release's model: the one path for evaluation, batch scoring and serving.

XGBoost goes through ONNX Runtime up to a few rows and through itself above, whichever is faster.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import TamperedError

Vectors = NDArray[np.float64]
FEW_ROWS = 64
"""Up to this many rows ONNX Runtime answers sooner than XGBoost (measured)."""


class Scorer(ABC):
    """A loaded model. `inputs` are the columns of the vectors it scores, in their order."""

    inputs: tuple[str, ...]

    @staticmethod
    def load(folder: Path | str, manifest: Mapping[str, Any], model: str | None = None) -> Scorer:
        """The scorer of a manifest's model (by default its last); verify the folder before: loaders are native code."""
        entries = {entry["name"]: entry for entry in manifest["models"]}
        entry = entries[model or list(entries)[-1]]
        kind = _SCORERS.get(entry["library"])
        if kind is None:
            raise TamperedError(f"{folder}: library {entry['library']!r} is not one of {', '.join(_SCORERS)}")
        scorer: Scorer = kind(Path(folder), entry)
        scorer.inputs = tuple(entry["inputs"])
        return scorer

    def score(self, vectors: Vectors) -> Vectors:
        """The probability of each row; raises ValueError unless there is one column for each input."""
        if vectors.ndim != 2 or vectors.shape[1] != len(self.inputs):
            raise ValueError(f"vectors of shape {vectors.shape} do not have the {len(self.inputs)} inputs of the model")
        if not len(vectors):
            return np.empty(0)
        return self._score(vectors)

    @abstractmethod
    def _score(self, vectors: Vectors) -> Vectors: ...


class _Logistic(Scorer):
    def __init__(self, folder: Path, entry: Mapping[str, Any]) -> None:
        model = json.loads((folder / entry["file"]).read_bytes())
        self._mean, self._scale = np.asarray(model["mean"]), np.asarray(model["scale"])
        self._coefficients, self._intercept = np.asarray(model["coefficients"]), float(model["intercept"])

    def _score(self, vectors: Vectors) -> Vectors:
        margins = (vectors - self._mean) / self._scale @ self._coefficients + self._intercept
        return np.asarray(1 / (1 + np.exp(-np.clip(margins, -700, 700))), dtype=np.float64)


class _XGBoost(Scorer):
    def __init__(self, folder: Path, entry: Mapping[str, Any]) -> None:
        import xgboost

        self._booster = xgboost.Booster({"nthread": 1}, model_file=folder / entry["file"])
        self._session: Any = None
        if entry.get("scorer_file"):
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.log_severity_level = 3
            path = str(folder / entry["scorer_file"])
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            self._input = self._session.get_inputs()[0].name
            self._output = [self._session.get_outputs()[-1].name]

    def _score(self, vectors: Vectors) -> Vectors:
        singles = np.ascontiguousarray(vectors, dtype=np.float32)
        if self._session is not None and len(vectors) <= FEW_ROWS:
            scores = self._session.run(self._output, {self._input: singles})[0]
            return np.asarray(scores, dtype=np.float64).reshape(len(vectors), -1)[:, -1]
        return np.asarray(self._booster.inplace_predict(singles), dtype=np.float64)


class _LightGBM(Scorer):
    def __init__(self, folder: Path, entry: Mapping[str, Any]) -> None:
        import lightgbm

        self._booster = lightgbm.Booster(model_file=folder / entry["file"])

    def _score(self, vectors: Vectors) -> Vectors:
        return np.asarray(self._booster.predict(np.ascontiguousarray(vectors), num_threads=1), dtype=np.float64)


_SCORERS: dict[str, Any] = {"logistic_regression": _Logistic, "xgboost": _XGBoost, "lightgbm": _LightGBM}
