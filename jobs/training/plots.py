"""The plots of a training, as PNG files with nothing in them that changes from run to run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = Mapping[str, NDArray[np.float64]]


def precision_recall(path: Path, label: NDArray[np.bool_], scores: Scores) -> None:
    """Writes the precision-recall curve of each named set of scores."""
    figure, axes = _axes("Precision and recall", "recall", "precision")
    for name, values in scores.items():
        order = np.argsort(-values, kind="stable")
        found = np.cumsum(label[order])
        ends = np.flatnonzero(np.append(np.diff(values[order]) != 0, True))
        axes.step(found[ends] / found[-1], found[ends] / (ends + 1), where="pre", label=name)
    axes.axhline(label.mean(), color="grey", linewidth=0.8, linestyle=":", label="all positive")
    axes.set_xlim(0, 1), axes.set_ylim(0, 1.02)
    _save(figure, axes, path)


def calibration(path: Path, label: NDArray[np.bool_], scores: Scores, bins: int = 10) -> None:
    """Writes observed share against mean score, in bins of equal size."""
    figure, axes = _axes("Calibration", "mean score", "observed share of positives")
    for name, values in scores.items():
        parts = np.array_split(np.argsort(values, kind="stable"), bins)
        axes.plot([values[rows].mean() for rows in parts], [label[rows].mean() for rows in parts], "o-", label=name)
    low, high = 1e-4, 1.0
    axes.plot([low, high], [low, high], color="grey", linewidth=0.8, linestyle=":", label="calibrated")
    axes.set_xscale("symlog", linthresh=1e-3), axes.set_yscale("symlog", linthresh=1e-3)
    axes.set_xlim(0, 1), axes.set_ylim(0, 1)
    _save(figure, axes, path)


def importance(path: Path, shares: Mapping[str, float]) -> None:
    """Writes each input's share of the total gain, greatest first."""
    ordered = sorted(shares.items(), key=lambda item: item[1])
    figure, axes = _axes("Importance", "share of the total gain", "")
    axes.barh([name for name, _ in ordered], [share for _, share in ordered])
    _save(figure, axes, path, legend=False)


def _axes(title: str, x: str, y: str) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title), axes.set_xlabel(x), axes.set_ylabel(y)
    return figure, axes


def _save(figure: Any, axes: Any, path: Path, *, legend: bool = True) -> None:
    if legend:
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110, metadata={"Software": None})
