"""Scores vectors with a release's model: the one path for evaluation, batch scoring, serving and explanations.

XGBoost goes through ONNX Runtime up to a few rows and through itself above, LightGBM through its C functions for
single rows, whichever is faster; both ways give the same bits.
"""

from __future__ import annotations

import ctypes
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import TamperedError
from jobs.release.probability import scores_of

Vectors = NDArray[np.float64]
FEW_ROWS = 64
"""Up to this many rows ONNX Runtime answers sooner than XGBoost (measured)."""
_FEWER_ROWS = 8
"""Up to this many rows LightGBM answers sooner one by one (measured)."""
_LARGEST = float(np.finfo(np.float32).max)
_ROUNDING = 1e-3
"""Contributions may add up to this much less or more than the margin: they are sums of single-precision numbers."""


class Scorer(ABC):
    """A loaded model. `inputs` are the columns of the vectors it scores, in their order."""

    inputs: tuple[str, ...]
    entry: Mapping[str, Any]
    """What the manifest says of the model, its correction and calibration included."""

    @staticmethod
    def load(folder: Path | str, manifest: Mapping[str, Any], model: str | None = None) -> Scorer:
        """The scorer of a manifest's model (by default its last); verify the folder before: loaders are native code."""
        entries = {entry["name"]: entry for entry in manifest["models"]}
        entry = entries[model or list(entries)[-1]]
        kind = _SCORERS.get(entry["library"])
        if kind is None:
            raise TamperedError(f"{folder}: library {entry['library']!r} is not one of {', '.join(_SCORERS)}")
        scorer: Scorer = kind(Path(folder), entry)
        scorer.inputs, scorer.entry = tuple(entry["inputs"]), entry
        return scorer

    def score(self, vectors: Vectors) -> Vectors:
        """What the model's task answers for each row, a probability for one; raises ValueError as `margins` does."""
        return self.scores_of(self.margins(vectors))

    def scores_of(self, margins: Vectors) -> Vectors:
        """The same of each raw margin."""
        return scores_of(margins, self.entry)

    def margins(self, vectors: Vectors) -> Vectors:
        """The raw log-odds of each row, before correction and calibration.

        Raises ValueError unless there is one column for each input, and finite numbers that single
        precision can hold.
        """
        self._check(vectors)
        return self._margins(vectors) if len(vectors) else np.empty(0)

    def explain(self, vectors: Vectors) -> Vectors:
        """Exact contributions in log-odds, (rows, inputs + 1), the last column being the base; a row sums to its margin.

        Trees: SHAP values by path-dependent TreeSHAP (Lundberg et al. 2020). Linear: each term, measured
        from the mean of what was learned from.
        """
        self._check(vectors)
        if not len(vectors):
            return np.empty((0, len(self.inputs) + 1))
        contributions = self._explain(vectors)
        missing = self.margins(vectors) - contributions.sum(axis=1)
        if not np.abs(missing).max() <= _ROUNDING:
            raise ValueError(f"contributions add up to {np.abs(missing).max():.3g} away from the model's own margin")
        contributions[:, -1] += missing
        return contributions

    def _check(self, vectors: Vectors) -> None:
        if vectors.ndim != 2 or vectors.shape[1] != len(self.inputs):
            raise ValueError(f"vectors of shape {vectors.shape} do not have the {len(self.inputs)} inputs of the model")
        if not (np.abs(vectors) <= _LARGEST).all():
            column = int(np.flatnonzero(~(np.abs(vectors) <= _LARGEST).all(axis=0))[0])
            raise ValueError(f"input {self.inputs[column]!r} is not a finite number that single precision can hold")

    @abstractmethod
    def _margins(self, vectors: Vectors) -> Vectors: ...

    @abstractmethod
    def _explain(self, vectors: Vectors) -> Vectors: ...


class _Logistic(Scorer):
    def __init__(self, folder: Path, entry: Mapping[str, Any]) -> None:
        model = json.loads((folder / entry["file"]).read_bytes())
        self._mean, self._scale = np.asarray(model["mean"]), np.asarray(model["scale"])
        self._coefficients, self._intercept = np.asarray(model["coefficients"]), float(model["intercept"])

    def _margins(self, vectors: Vectors) -> Vectors:
        return np.asarray(self._explain(vectors).sum(axis=1), dtype=np.float64)

    def _explain(self, vectors: Vectors) -> Vectors:
        terms = (vectors - self._mean) / self._scale * self._coefficients
        return np.column_stack([terms, np.full(len(vectors), self._intercept)])


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

    def _margins(self, vectors: Vectors) -> Vectors:
        singles = np.ascontiguousarray(vectors, dtype=np.float32)
        if self._session is not None and len(vectors) <= FEW_ROWS:
            return np.asarray(self._session.run(["margins"], {"vectors": singles})[0], dtype=np.float64).reshape(-1)
        return np.asarray(self._booster.inplace_predict(singles, predict_type="margin"), dtype=np.float64)

    def _explain(self, vectors: Vectors) -> Vectors:
        import xgboost

        rows = xgboost.DMatrix(np.ascontiguousarray(vectors, dtype=np.float32), nthread=1)
        return np.asarray(self._booster.predict(rows, pred_contribs=True), dtype=np.float64)


class _LightGBM(Scorer):
    def __init__(self, folder: Path, entry: Mapping[str, Any]) -> None:
        import lightgbm

        self._booster = lightgbm.Booster(model_file=folder / entry["file"])
        self._single = _SingleRow(self._booster, len(entry["inputs"]))

    def _margins(self, vectors: Vectors) -> Vectors:
        rows = np.ascontiguousarray(vectors)
        if len(rows) <= _FEWER_ROWS:
            return self._single.margins(rows)
        return np.asarray(self._booster.predict(rows, raw_score=True, num_threads=1), dtype=np.float64)

    def _explain(self, vectors: Vectors) -> Vectors:
        rows = np.ascontiguousarray(vectors)
        return np.asarray(self._booster.predict(rows, pred_contrib=True, num_threads=1), dtype=np.float64)


class _SingleRow:
    """LightGBM's C functions for one row after the other, which set up once what `predict` does for every call."""

    _RAW_SCORE, _DOUBLE = 1, 1
    """`C_API_PREDICT_RAW_SCORE` and `C_API_DTYPE_FLOAT64` of LightGBM's c_api.h."""

    def __init__(self, booster: Any, columns: int) -> None:
        from lightgbm.basic import _LIB, _safe_call

        self._check, self._score = _safe_call, _LIB.LGBM_BoosterPredictForMatSingleRowFast
        self._booster, self._config = booster, ctypes.c_void_p()  # the booster must live as long as its configuration
        self._check(
            _LIB.LGBM_BoosterPredictForMatSingleRowFastInit(
                booster._handle, self._RAW_SCORE, 0, -1, self._DOUBLE, ctypes.c_int32(columns), b"num_threads=1",
                ctypes.byref(self._config),
            )
        )  # fmt: skip

    def margins(self, rows: Vectors) -> Vectors:
        """The raw log-odds of each of the rows, which lie one after the other in memory."""
        margins, length = np.empty(len(rows)), ctypes.c_int64()
        row, margin = rows.ctypes.data, margins.ctypes.data
        for index in range(len(rows)):
            at, to = ctypes.c_void_p(row + index * rows.strides[0]), ctypes.c_void_p(margin + 8 * index)
            self._check(self._score(self._config, at, ctypes.byref(length), to))
        return margins


_SCORERS: dict[str, Any] = {"logistic_regression": _Logistic, "xgboost": _XGBoost, "lightgbm": _LightGBM}
