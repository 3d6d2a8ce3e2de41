"""The plots of an order, as PNG files with nothing in them that changes from run to run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobs.training.metrics import Outcomes, measure
from jobs.training.plots import axes_of, save

DEPTHS = (1, 2, 3, 5, 10, 20)
PLACES = 20


def by_depth(path: Path, outcomes: Outcomes, scores: Mapping[str, NDArray[np.float64]]) -> None:
    """Writes NDCG at several depths of each named set of scores."""
    figure, axes = axes_of("NDCG by depth", "places that count", "mean NDCG")
    for name, values in scores.items():
        worth = [measure(f"ndcg_at_{depth}", outcomes, values) for depth in DEPTHS]
        axes.plot(range(len(DEPTHS)), worth, "o-", markersize=4, linewidth=1, label=name)
    axes.set_xticks(range(len(DEPTHS)), [str(depth) for depth in DEPTHS])
    save(figure, axes, path)


def by_place(path: Path, outcomes: Outcomes, scores: Mapping[str, NDArray[np.float64]]) -> None:
    """Writes the share of relevant rows at each place that each named set of scores gives."""
    figure, axes = axes_of("Relevance by place", "place", "share of relevant rows")
    group = outcomes.unit
    for name, values in scores.items():
        order = np.lexsort((outcomes.label, -values, group))
        starts = np.flatnonzero(np.diff(group[order], prepend=-1))
        sizes = np.diff(np.append(starts, len(order)))
        place = np.arange(len(order)) - np.repeat(starts, sizes)
        near = place < PLACES
        relevant = np.bincount(place[near], outcomes.label[order][near] > 0)
        share = relevant / np.maximum(np.bincount(place[near]), 1)
        axes.plot(np.arange(1, len(share) + 1), share, "o-", markersize=4, linewidth=1, label=name)
    axes.axhline((outcomes.label > 0).mean(), color="grey", linewidth=0.8, linestyle=":", label="in no order")
    save(figure, axes, path)
