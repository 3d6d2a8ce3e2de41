"""The pictures of docs/decisions.md: SVG, and the same bytes from the same figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from jobs.rollout.verdict import Verdict
from tests.simulation.peeking import LOOKS, Peeked
from tests.simulation.traffic import LOOK_SECONDS, Scenario, draw
from tests.simulation.walk import Outcome, decide, paced

NAIVE, OURS, BAD, QUIET = "#a4262c", "#0b7285", "#c77700", "#6b7682"
CHECK = "errors beside stable"


def peeking(path: Path, errors: tuple[Peeked, Peeked], means: tuple[Peeked, Peeked], alpha: float) -> None:
    """How many of a thousand equal pairs were called different, look after look."""
    with _figure(path, 2) as panels:
        for axes, pair, title in zip(
            panels, (errors, means), ("errors of two equal slots", "means of two equal groups"), strict=True
        ):
            for peeked, colour in zip(pair, (NAIVE, OURS), strict=True):
                axes.plot(range(1, LOOKS + 1), 100 * peeked.by_look(), color=colour, label=peeked.name)
            axes.axhline(100 * alpha, color=QUIET, linewidth=0.8, linestyle="--", label=f"allowed: {100 * alpha:.0f} %")
            axes.set_title(title), axes.set_xlabel("looks"), axes.set_ylim(0, 40)
            axes.legend(frameon=False, fontsize=8)
        panels[0].set_ylabel("% called different")


def intervals(path: Path, good: Scenario, bad: Scenario) -> None:
    """The interval of the difference of two error rates over fifty looks: of an equal candidate, and of a worse one."""
    with _figure(path, 2) as panels:
        for axes, scenario, colour, title in zip(
            panels, (good, bad), (OURS, BAD), ("as good as stable", bad.name), strict=True
        ):
            looks = [_look(verdict) for verdict in _verdicts(scenario)]
            x, bound = range(1, len(looks) + 1), 100 * scenario.policy.error_effect
            low, middle, high = (100 * np.array(part) for part in zip(*looks, strict=True))
            axes.fill_between(x, low, high, color=colour, alpha=0.25, linewidth=0)
            axes.plot(x, middle, color=colour)
            axes.axhline(bound, color=NAIVE, linewidth=0.8, linestyle="--", label=f"floor: {bound:.1f} points")
            axes.set_title(title), axes.set_xlabel("looks"), axes.set_ylim(-2, 4)
            axes.legend(frameon=False, fontsize=8)
        panels[0].set_ylabel("errors beside stable, points")


def delays(path: Path, outcomes: Sequence[Outcome]) -> None:
    """How many of the bad candidates were rolled back, by the requests that they had been sent."""
    with _figure(path, 1) as (axes,):
        for outcome in outcomes:
            shares = np.linspace(0, 1, 51)
            requests = np.quantile([fate.requests for fate in outcome.ended], shares)
            axes.plot(requests, 100 * shares * len(outcome.ended) / len(outcome.fates), label=outcome.scenario.name)
        axes.set_xscale("log"), axes.set_ylim(0, 102), axes.set_ylabel("% rolled back")
        axes.set_xlabel("requests to the candidate until then")
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def _verdicts(scenario: Scenario) -> list[Verdict]:
    policy = paced(scenario.policy, LOOKS)
    (traffic,) = draw(scenario, 25, LOOKS, 1, np.random.default_rng(16))
    return [
        decide(25, mine, theirs, look * LOOK_SECONDS, policy)
        for look, (mine, theirs) in enumerate(zip(traffic.candidate, traffic.stable, strict=True), start=1)
    ]


def _look(verdict: Verdict) -> tuple[float, float, float]:
    (check,) = (one for one in verdict.checks if one.name == CHECK)
    return float(check.low or 0), float(check.value or 0), float(check.high or 0)


@contextmanager
def _figure(path: Path, panels: int) -> Iterator[Any]:
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update({"svg.hashsalt": "tidemill", "svg.fonttype": "none"})  # names of clip paths would be random
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, panels, figsize=(9, 3.2), layout="constrained", squeeze=False)
    for one in axes[0]:
        one.spines[["top", "right"]].set_visible(False)
    yield axes[0]
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    # the renderer ends lines with blanks, which no other file here does
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")
