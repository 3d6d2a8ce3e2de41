"""An experiment's interval, look by look, as a PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any


def interval(path: Path, curve: Sequence[Mapping[str, Any]], name: str, least: float) -> None:
    """Draws how much better the candidate is, with its interval, by the day the labels became known.

    Days on which there was too little for an interval are left out; `least` is the effect that was asked for.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import dates, pyplot

    known = [one for one in curve if one["value"] is not None]
    days = [date.fromisoformat(one["day"]) for one in known]
    figure, axes = pyplot.subplots(figsize=(9, 3.8), layout="constrained")
    axes.fill_between(days, [one["low"] for one in known], [one["high"] for one in known], color="#0b5394", alpha=0.18,
                      linewidth=0, label="interval, at every look")  # fmt: skip
    axes.plot(days, [one["value"] for one in known], marker="o", markersize=3, color="#0b5394", label="gain")
    axes.axhline(0, color="#5a6675", linewidth=1, label="no difference")
    axes.axhline(least, color="#1a6b3c", linewidth=1, linestyle="--", label="asked for")
    ends = [abs(end) for one in known[len(known) // 4 :] for end in (one["low"], one["high"])]
    reach = 1.1 * max([2 * least, *ends])
    axes.set_ylim(-reach, reach), axes.set_ylabel(f"{name}: better by")
    axes.xaxis.set_major_formatter(dates.DateFormatter("%d %b"))
    axes.set_xticks(days[:: -(-len(days) // 10) or 1])
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)
