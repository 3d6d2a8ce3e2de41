"""The distances of the last batches against their thresholds, as a PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

SHOWN = 28
"""Batches that a report looks back on."""
_NAMED = 6


def distances(path: Path, results: Sequence[Mapping[str, Any]]) -> None:
    """Draws each column's index over its threshold, by batch; `results` are documents of drift, oldest first.

    The columns that came nearest to their threshold, or beyond it, are named.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import dates, pyplot

    lines: dict[str, list[tuple[date, float]]] = {}
    for result in results:
        for name, found in result["columns"].items():
            ratio = max(found["psi"], 1e-4) / found["threshold"]
            lines.setdefault(name, []).append((date.fromisoformat(result["batch"]), ratio))
    highest = sorted(lines, key=lambda name: -max(ratio for _, ratio in lines[name]))
    figure, axes = pyplot.subplots(figsize=(9, 4), layout="constrained")
    for name in reversed(highest):
        days, ratios = zip(*lines[name], strict=True)
        named = name in highest[:_NAMED]
        axes.plot(days, ratios, marker="o", markersize=3 if named else 0, linewidth=1.4 if named else 0.7,
                  color=None if named else "#c3cad3", label=name if named else None)  # fmt: skip
    axes.axhline(1, color="#a4262c", linewidth=1, label="threshold")
    axes.set_yscale("log"), axes.set_ylabel("distance / threshold")
    axes.xaxis.set_major_formatter(dates.DateFormatter("%d %b"))
    batches = sorted({day for line in lines.values() for day, _ in line})
    axes.set_xticks(batches[:: -(-len(batches) // 10) or 1])
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)
