"""The picture of a backtest: every metric week by week, retrained, frozen and of the baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def folds(path: Path, document: Mapping[str, Any], metrics: Sequence[str]) -> None:
    """Writes one panel a metric: the model of each fold with its 95 % interval, the first one frozen, the baselines."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    weeks, frozen = document["folds"], document["frozen"]
    names = [fold["test"][0][5:] for fold in weeks]
    for panel, metric in zip(figure.subplots(1, len(metrics)), metrics, strict=True):
        panel.set_title(metric.replace("_", " "), fontsize=10)
        for library in document["baselines"]:
            values = _numbers([fold["baselines"][library] for fold in weeks], metric)
            panel.plot(names, values, ":", marker=".", linewidth=1, label=library.replace("_", " "))
        aged = _numbers([weeks[0]["metrics"], *(week["metrics"] for week in frozen)], metric)
        panel.plot(names, aged, "--", marker="s", markersize=4, color="tab:red", label="first model, frozen")
        values = _numbers([fold["metrics"] for fold in weeks], metric)
        low, high = (_numbers([fold["intervals"][metric] for fold in weeks], end) for end in ("low", "high"))
        panel.fill_between(names, low, high, alpha=0.15, color="tab:blue", linewidth=0)
        panel.plot(names, values, "-", marker="o", color="tab:blue", label="retrained")
        panel.tick_params(labelsize=7)
        panel.set_xlabel("test days from", fontsize=8)
    figure.axes[0].legend(frameon=False, fontsize=7)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _numbers(figures: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [float("nan") if one[name] is None else float(one[name]) for one in figures]
