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
from jobs.release.bits import dense, folded, sparse
from jobs.release.probability import explained, scores_of
from jobs.retrieval.index import catalogue

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
    flags = 0
    """How many of the inputs are numbers of flags."""

    @staticmethod
    def load(folder: Path | str, manifest: Mapping[str, Any], model: str | None = None) -> Scorer:
        """The scorer of a manifest's model (by default its last); verify the folder before: loaders are native code."""
        entries = {entry["name"]: entry for entry in manifest["models"]}
        entry = entries[model or list(entries)[-1]]
        kind = _SCORERS.get(entry["library"])
        if kind is None:
            raise TamperedError(f"{folder}: library {entry['library']!r} is not one of {', '.join(_SCORERS)}")
        scorer: Scorer = kind(Path(folder), entry)
        scorer.inputs, scorer.entry, scorer.flags = tuple(entry["inputs"]), entry, int(entry.get("flags", 0))
        return scorer

    def score(self, vectors: Vectors) -> Vectors:
        """What the model's task answers for each row, a probability for one; raises ValueError as `margins` does."""
        return self.scores_of(self.margins(vectors))

    def scores_of(self, margins: Vectors) -> Vectors:
        """The same of each raw margin."""
        return scores_of(margins, self.entry)

    def margins(self, vectors: Vectors) -> Vectors:
        """The raw log-odds of each row, or of each row and class, before correction and calibration.

        Raises ValueError unless there is one column for each input, and finite numbers that single
        precision can hold.
        """
        self._check(vectors)
        return self._margins(vectors) if len(vectors) else np.empty((0, *self._several))

    def explain(self, vectors: Vectors) -> Vectors:
        """Exact contributions in log-odds, (rows, inputs + 1), the last column being the base; a row sums to its margin.

        All flags are one input. With several classes the margin is that of the likeliest but the first, over the first's.
        Trees: SHAP values by path-dependent TreeSHAP (Lundberg et al. 2020). Linear: each term, measured
        from the mean of what was learned from.
        """
        self._check(vectors)
        if not len(vectors):
            return np.empty((0, len(self.inputs) + 1 - max(self.flags - 1, 0)))
        margins = self.margins(vectors)
        contributions = folded(self._explain(vectors), len(self.inputs) - self.flags, self.flags)
        if contributions.ndim > 2:
            likeliest = margins[:, 1:].argmax(axis=1) + 1
            contributions = contributions[np.arange(len(vectors)), likeliest] - contributions[:, 0]
        missing = explained(margins) - contributions.sum(axis=1)
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

    @property
    def _several(self) -> tuple[int, ...]:
        return (len(self.entry["classes"]),) if self.entry.get("classes") else ()

    @abstractmethod
    def _margins(self, vectors: Vectors) -> Vectors: ...

    @abstractmethod
    def _explain(self, vectors: Vectors) -> Vectors:
        """(rows, columns + 1), or with several classes (rows, classes, columns + 1); each flag is a column."""


class _Logistic(Scorer):
    def __init__(self, folder: Path, entry: Mapping[str, Any]) -> None:
        model = json.loads((folder / entry["file"]).read_bytes())
        self._mean, self._scale = np.asarray(model["mean"]), np.asarray(model["scale"])
        self._coefficients, self._intercept = np.asarray(model["coefficients"]), np.asarray(model["intercept"])

    def _margins(self, vectors: Vectors) -> Vectors:
        if not self.flags and not self._several:
            return np.asarray(self._explain(vectors).sum(axis=1), dtype=np.float64)
        scaled = sparse((vectors - self._mean) / self._scale, self.flags)
        return np.asarray(scaled @ self._coefficients.T + self._intercept, dtype=np.float64)

    def _explain(self, vectors: Vectors) -> Vectors:
        scaled = dense((vectors - self._mean) / self._scale, self.flags)
        terms = scaled * self._coefficients if not self._several else scaled[:, None] * self._coefficients
        base = np.broadcast_to(self._intercept, terms.shape[:-1])[..., None]
        return np.concatenate([terms, base], axis=-1)


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
        if self._session is not None and len(vectors) <= FEW_ROWS:
            singles = np.ascontiguousarray(dense(vectors, self.flags, absent=np.nan), dtype=np.float32)
            margins = self._session.run(["margins"], {"vectors": singles})[0]
        else:
            rows = sparse(np.ascontiguousarray(vectors), self.flags).astype(np.float32)
            margins = self._booster.inplace_predict(rows, predict_type="margin")
        return np.asarray(margins, dtype=np.float64).reshape(len(vectors), *self._several)

    def _explain(self, vectors: Vectors) -> Vectors:
        import xgboost

        rows = xgboost.DMatrix(sparse(np.ascontiguousarray(vectors), self.flags).astype(np.float32), nthread=1)
        return np.asarray(self._booster.predict(rows, pred_contribs=True), dtype=np.float64)


class _LightGBM(Scorer):
    def __init__(self, folder: Path, entry: Mapping[str, Any]) -> None:
        import lightgbm

        self._booster = lightgbm.Booster(model_file=folder / entry["file"])
        self._single = _SingleRow(self._booster)

    def _margins(self, vectors: Vectors) -> Vectors:
        if len(vectors) <= _FEWER_ROWS:
            margins = self._single.margins(np.ascontiguousarray(dense(vectors, self.flags)))
        else:
            rows = sparse(np.ascontiguousarray(vectors), self.flags)
            margins = np.asarray(self._booster.predict(rows, raw_score=True, num_threads=1), dtype=np.float64)
        return margins.reshape(len(vectors), *self._several)

    def _explain(self, vectors: Vectors) -> Vectors:
        rows = np.ascontiguousarray(dense(vectors, self.flags))
        found = np.asarray(self._booster.predict(rows, pred_contrib=True, num_threads=1), dtype=np.float64)
        return found.reshape(len(rows), *self._several, rows.shape[1] + 1)


class _SingleRow:
    """LightGBM's C functions for one row after the other, which set up once what `predict` does for every call."""

    _RAW_SCORE, _DOUBLE = 1, 1
    """`C_API_PREDICT_RAW_SCORE` and `C_API_DTYPE_FLOAT64` of LightGBM's c_api.h."""

    def __init__(self, booster: Any) -> None:
        from lightgbm.basic import _LIB, _safe_call

        self._check, self._score = _safe_call, _LIB.LGBM_BoosterPredictForMatSingleRowFast
        self._booster, self._config = booster, ctypes.c_void_p()  # the booster must live as long as its configuration
        self._answers, columns = booster.num_model_per_iteration(), booster.num_feature()
        self._check(
            _LIB.LGBM_BoosterPredictForMatSingleRowFastInit(
                booster._handle, self._RAW_SCORE, 0, -1, self._DOUBLE, ctypes.c_int32(columns), b"num_threads=1",
                ctypes.byref(self._config),
            )
        )  # fmt: skip

    def margins(self, rows: Vectors) -> Vectors:
        """The raw log-odds of each of the rows, which lie one after the other in memory, and of each class."""
        margins, length = np.empty((len(rows), self._answers)), ctypes.c_int64()
        row, margin = rows.ctypes.data, margins.ctypes.data
        for index in range(len(rows)):
            at, to = (
                ctypes.c_void_p(row + index * rows.strides[0]),
                ctypes.c_void_p(margin + index * margins.strides[0]),
            )
            self._check(self._score(self._config, at, ctypes.byref(length), to))
        return margins


class Candidates(Scorer):
    """The items of a retrieval; a row's margin is its score, 1 over the place of its item."""

    def __init__(self, folder: Path, entry: Mapping[str, Any]) -> None:
        self.catalogue = catalogue(folder, entry)

    def _margins(self, vectors: Vectors) -> Vectors:
        return self.catalogue.scores(vectors)

    def _explain(self, vectors: Vectors) -> Vectors:
        """A place is of all items that were taken together: nothing of it is due to one of them alone."""
        return np.column_stack([np.zeros_like(vectors), self._margins(vectors)])


_SCORERS: dict[str, Any] = {
    "logistic_regression": _Logistic, "xgboost": _XGBoost, "lightgbm": _LightGBM,
    "als": Candidates, "popularity": Candidates,
}  # fmt: skip
