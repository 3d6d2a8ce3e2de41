"""The plots of a training, as PNG files with nothing in them that changes from run to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = Mapping[str, NDArray[np.float64]]


def precision_recall(path: Path, label: NDArray[np.bool_], scores: Scores) -> None:
    """Writes the precision-recall curve of each named set of scores."""
    figure, axes = axes_of("Precision and recall", "recall", "precision")
    for name, values in scores.items():
        order = np.argsort(-values, kind="stable")
        found = np.cumsum(label[order])
        ends = np.flatnonzero(np.append(np.diff(values[order]) != 0, True))
        axes.step(found[ends] / found[-1], found[ends] / (ends + 1), where="pre", label=name)
    axes.axhline(label.mean(), color="grey", linewidth=0.8, linestyle=":", label="all positive")
    axes.set_xlim(0, 1), axes.set_ylim(0, 1.02)
    save(figure, axes, path)


def calibration(path: Path, label: NDArray[np.bool_], scores: Scores, bins: int = 16) -> None:
    """Writes the reliability plot: observed share against mean score, each with its 95 % interval (Wilson 1927).

    Half of what makes bins equal is their number of rows and half the sum of their scores, so that the few
    high scores are seen as well as the many low ones.
    """
    figure, axes = axes_of("Calibration", "mean score", "observed share of positives")
    for name, values in scores.items():
        order = np.argsort(values, kind="stable")
        filled = np.cumsum(values[order] + values.mean())
        edges = _edges(values[order], filled, bins)
        parts = [order[rows] for rows in np.split(np.arange(len(order)), edges) if len(rows)]
        means = [float(values[rows].mean()) for rows in parts]
        shares = np.array([label[rows].mean() for rows in parts])
        low, high = _wilson(shares, np.array([len(rows) for rows in parts]))
        axes.errorbar(means, shares, (shares - low, high - shares), fmt="o-", markersize=4, linewidth=1, label=name)
    low_end, high_end = 1e-4, 1.0
    axes.plot([low_end, high_end], [low_end, high_end], color="grey", linewidth=0.8, linestyle=":", label="calibrated")
    axes.set_xscale("symlog", linthresh=1e-3), axes.set_yscale("symlog", linthresh=1e-3)
    axes.set_xlim(0, 1), axes.set_ylim(0, 1)
    save(figure, axes, path)


def _edges(ranked: NDArray[np.float64], filled: NDArray[np.float64], bins: int) -> NDArray[np.intp]:
    """Where the n-th of equal parts of a rising sum begins; equal scores stay together."""
    begins = np.searchsorted(filled, filled[-1] * np.arange(1, bins) / bins)
    return np.unique(np.searchsorted(ranked, ranked[begins]))


def _wilson(share: NDArray[np.float64], rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    z = 1.96
    middle = (share + z**2 / (2 * rows)) / (1 + z**2 / rows)
    half = z / (1 + z**2 / rows) * np.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2))
    return np.minimum(middle - half, share), np.maximum(middle + half, share)


def importance(path: Path, shares: Mapping[str, float]) -> None:
    """Writes each input's share of the total gain, greatest first."""
    ordered = sorted(shares.items(), key=lambda item: item[1])
    figure, axes = axes_of("Importance", "share of the total gain", "")
    axes.barh([name for name, _ in ordered], [share for _, share in ordered])
    save(figure, axes, path, legend=False)


def slices(path: Path, found: Mapping[str, Any]) -> None:
    """Writes the metric of every judged group with its 95 % interval, and the bound its slice declares.

    Groups too small to judge keep their line, empty: what was not judged is seen as well.
    """
    rows = [
        (f"{name}: {group}", one, figures) for name, one in found.items() for group, figures in one["groups"].items()
    ]
    figure, axes = axes_of(
        "Slices", "metric, with its 95 % interval; red: what it must reach", "", height=1.4 + 0.28 * max(len(rows), 2)
    )
    for place, (_, one, figures) in enumerate(rows):
        for bound in (one["minimum"], one["maximum"]):
            if bound is not None:
                axes.plot([bound, bound], [place - 0.4, place + 0.4], color="tab:red", linewidth=1)
        if figures["value"] is not None and figures["low"] is not None:
            axes.plot([figures["low"], figures["high"]], [place, place], color="tab:blue", linewidth=2)
            axes.plot([figures["value"]], [place], "o", color="tab:blue", markersize=5)
        else:
            why = "too few to judge" if figures["too_few"] else "undefined"
            where = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center"}
            axes.text(0.99, place, why, fontsize=7, color="grey", **where)
    labels = [f"{name} ({one['metric']})" for name, one, _ in rows]
    axes.set_yticks(range(len(rows)), labels, fontsize=8), axes.invert_yaxis()
    save(figure, axes, path, legend=False)


def explanation(
    path: Path,
    names: Sequence[str],
    importance: Mapping[str, float],
    vectors: NDArray[np.float64],
    contributions: NDArray[np.float64],
) -> None:
    """Writes the mean absolute contribution of every input, and each explained row's contribution, coloured by value.

    A value's colour is its rank among the rows; points of equal contribution lie above one another.
    """
    order = sorted(range(len(names)), key=lambda index: -importance[names[index]])
    figure, bars, cloud = _pair("What moves the score", height=1.6 + 0.3 * len(names))
    bars.barh([names[index] for index in order], [importance[names[index]] for index in order], color="tab:blue")
    bars.set_ylim(len(order) - 0.5, -0.5), bars.tick_params(labelsize=8)
    bars.set_xlabel("mean |contribution|, log-odds")
    for place, index in enumerate(order):
        ranks = np.unique(vectors[:, index], return_inverse=True)[1]
        colours = ranks / max(int(ranks.max()), 1)
        drawn = cloud.scatter(
            contributions[:, index], place + _spread(contributions[:, index]), c=colours,
            cmap="coolwarm", vmin=0, vmax=1, s=5, linewidths=0,
        )  # fmt: skip
    cloud.axvline(0, color="grey", linewidth=0.8), cloud.set_xlabel("contribution, log-odds")
    cloud.set_yticks([]), cloud.set_ylim(len(order) - 0.5, -0.5)
    bar = figure.colorbar(drawn, ax=cloud, ticks=[0, 1])
    bar.ax.set_yticklabels(["low", "high"]), bar.set_label("value of the input")
    figure.savefig(path, dpi=110, metadata={"Software": None})


def explained_slices(path: Path, names: Sequence[str], groups: Mapping[str, Mapping[str, float]]) -> None:
    """Writes the mean absolute contribution of every input in every group, the darker the greater."""
    figure, axes = axes_of("What moves the score, by slice", "", "", height=1.8 + 0.28 * max(len(groups), 2))
    table = np.array([[one[name] for name in names] for one in groups.values()]).reshape(len(groups), len(names))
    drawn = axes.imshow(table, aspect="auto", cmap="Blues", vmin=0)
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=7)
    axes.set_yticks(range(len(groups)), list(groups), fontsize=7)
    figure.colorbar(drawn, ax=axes).set_label("mean |contribution|, log-odds", fontsize=8)
    save(figure, axes, path, legend=False)


def _spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each point is moved up or down, so that points of about one value do not hide one another."""
    low, high = float(values.min()), float(values.max())
    bins = np.floor((values - low) / ((high - low) or 1.0) * 80).astype(np.int64)
    offset = np.zeros(len(values))
    most = int(np.bincount(bins).max())
    for one in np.unique(bins):
        inside = np.flatnonzero(bins == one)
        offset[inside] = (np.arange(len(inside)) - (len(inside) - 1) / 2) / most
    return np.asarray(offset * 0.8, dtype=np.float64)


def _pair(title: str, height: float) -> tuple[Any, Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, height), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.6))
    figure.suptitle(title)
    return figure, left, right


def axes_of(title: str, x: str, y: str, height: float = 4.6) -> tuple[Any, Any]:
    """An empty figure and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title), axes.set_xlabel(x), axes.set_ylabel(y)
    return figure, axes


def save(figure: Any, axes: Any, path: Path, *, legend: bool = True) -> None:
    """Writes the figure as PNG."""
    if legend:
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110, metadata={"Software": None})
