"""What a walking candidate's labels say, once enough of them have matured; until then, how many have."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from jobs.errors import TidemillError
from jobs.experiment.arms import Sources, served, sides_of
from jobs.experiment.measures import sample, values
from jobs.lake import Lake
from jobs.monitoring.labels import read_labels
from jobs.release.checks import Check, State
from jobs.rollout.comparisons import not_worse
from jobs.spec import Metric, Project


def matured(
    project: Project, lake: Lake, *, candidate: str, stable: str, since: datetime, alpha: float
) -> Check | None:
    """The check of the project's label metric on what both releases have served since then; None without one.

    FAILED when the candidate is surely worse than by the margin, PASSED while it keeps to it. Below the policy's
    minimum of matured labels it is undecided and optional: the other checks decide alone. A table that cannot be
    read is undecided and not optional.
    """
    import duckdb

    if project.canary.label_metric is None:
        return None
    try:
        return _compared(project, lake, project.canary.label_metric, candidate, stable, since, alpha)
    except (TidemillError, OSError, duckdb.Error) as error:
        detail = f"the label table cannot be read: {error}"
        return Check(name=named(project.canary.label_metric), state=State.UNDECIDED, detail=detail)


def _compared(
    project: Project, lake: Lake, metric: Metric, candidate: str, stable: str, since: datetime, alpha: float
) -> Check:
    least = project.canary.minimum_matured
    sources = Sources.of(lake, project)
    sides = sides_of(project, read_labels(sources.labels, since), [candidate, stable]) if sources.labels else []
    counts = [len(values(metric, one)[0]) for one in sides] or [0, 0]
    if min(counts) < least:
        asked = served(sources, candidate, since)
        return Check(
            name=named(metric), value=min(counts), bound=least, state=State.UNDECIDED, optional=True,
            rule="value >= bound, then the metric decides", samples={"candidate": counts[0], "stable": counts[1]},
            detail=f"{counts[0]} of {asked} predictions of the candidate have their label, {counts[1]} of the stable "
            f"release; {least} of each decide, {project.label.delay_days} days after the event",
        )  # fmt: skip
    found = not_worse(
        named(metric), *(sample(metric, one) for one in sides), margin=metric.margin, alpha=alpha, planned=2 * least,
        lower_is_better=metric.lower_is_better, minimum=least,
    )  # fmt: skip
    keeps = found.state is State.UNDECIDED and found.value is not None and found.value >= -metric.margin
    return replace(found, state=State.PASSED, rule="value >= bound") if keeps else found


def named(metric: Metric) -> str:
    """What the check is called.

    >>> named(Metric(name="log_loss", direction="lower"))
    'log_loss on labels'
    """
    return f"{metric.name} on labels"
