"""What speaks for each cause, view by view: what was logged beside what the lake has, and since when it has it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobs.features.live.plan import DAY, MASK, plan_of
from jobs.features.replay import corrections
from jobs.features.replay.causes import Evidence, Flags, same_bits
from jobs.features.replay.known import Known
from jobs.features.replay.log import NONE, Logged
from jobs.features.replay.truth import Truth
from jobs.lake import Lake
from jobs.spec import FeatureView, LiveView, Project
from jobs.storage import POINTER, current

Ints = NDArray[np.int64]
_NEVER = np.iinfo(np.int64).min
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = date(1970, 1, 1)


def of_batch_view(project: Project, lake: Lake, view: FeatureView, logged: Logged, truth: Truth) -> Evidence:
    """A batch view's part: since when its value was visible online, beside the one that the lake had made visible.

    Where both are the same batch's, the lake's was computed anew after the answer if its partition was replaced since.
    """
    mine, theirs = logged.counters[view.name]["available_at"], truth.counter(view.name, "available_at")
    degraded = logged.degraded
    traced = logged.traced & ~degraded
    read = traced & logged.same[view.name]
    batches = (theirs - view.lag // _MICROSECOND) // DAY - 1
    known = {int(day) for day in batches[theirs != NONE]}
    replaced = {day: _since(lake.features(project.name, view.name, _day(day)), again=True) for day in known}
    since = np.array([replaced.get(day, _NEVER) for day in batches.tolist()], dtype=np.int64)
    return Evidence(
        other_definition=traced & ~logged.same[view.name],
        nothing_found=(theirs != NONE) & (degraded | (read & (mine == NONE))),
        behind=read & (mine != NONE) & (mine < theirs),
        other_events=read & (mine != NONE) & (mine == theirs) & (since > logged.times("served_at")),
    )


def of_live_view(view: LiveView, logged: Logged, truth: Truth, known: Known) -> Evidence:
    """A live view's part: how many events, and which, were counted online, beside those that there are now.

    An event that was lacking came too late, unless it had been scored or delivered before: then the store was behind,
    or, when it had nothing at all, lost the key. An event that was counted and is nowhere now explains nothing.
    """
    mine = [logged.counters[view.name][name] for name in ("events", "checksum")]
    theirs = [truth.counter(view.name, name) for name in ("events", "checksum")]
    degraded = logged.degraded
    traced = logged.traced & ~degraded
    read = traced & logged.same[view.name]
    differs = read & ((mine[0] != theirs[0]) | (mine[1] != theirs[1]))
    plan = plan_of(view)
    own = sum(1 for index in plan.outer if not plan.extents[index].delay)
    alone = (mine[0] == own) & (mine[1] == own * (logged.times("event_time") & MASK))
    too_late = (known.events > 0) & (known.after == known.events)
    nothing = differs & alone & (theirs[0] > mine[0]) & ~too_late
    behind = differs & ~nothing & (known.events > 0) & (known.before == known.events) & (mine[0] <= theirs[0])
    return Evidence(
        other_definition=traced & ~logged.same[view.name],
        nothing_found=nothing | (degraded & truth.found(view.name)),
        behind=behind,
        other_events=differs & ~nothing & ~behind & ((mine[0] <= theirs[0]) | known.replaced),
    )


def published_since(project: Project, lake: Lake, view: LiveView, logged: Logged, *, again: bool) -> Flags:
    """Which answers had a partition of the view's events published after them; with `again`, not for the first time."""
    days = logged.times("event_time") // DAY
    reach = -(-(view.reach // _MICROSECOND) // DAY) + 1
    wanted = sorted({int(day) - back for day in np.unique(days) for back in range(reach + 1)})
    since = {day: _since(lake.features(project.name, view.events, _day(day)), again=again) for day in wanted}
    latest = {int(day): max(since[int(day) - back] for back in range(reach + 1)) for day in np.unique(days)}
    return np.array([latest[day] for day in days.tolist()], dtype=np.int64) > logged.times("served_at")


def corrected(
    project: Project,
    lake: Lake,
    view: LiveView,
    index: int,
    features: frozenset[tuple[str, str]],
    logged: Logged,
    truth: Truth,
    known: Known,
    files: Sequence[str],
) -> Flags:
    """Of which answers a correction of the view's events explains input `index`, which changes with these features.

    They counted the same events. What no request carries, such as a label, can have come later; what a request carried
    is corrected where the lake's row says something else, or was replaced. A sum of yes and no must also be possible.
    """
    windows, later = corrections.suspects(project, view, features)
    flags = np.zeros(len(logged), dtype=np.bool_)
    if not windows:
        return flags
    same = logged.traced & ~logged.degraded & logged.same[view.name]
    for name in ("events", "checksum"):
        same &= logged.counters[view.name][name] == truth.counter(view.name, name)
    since = published_since(project, lake, view, logged, again=False) if later else known.replaced
    flags |= same & (since | (known.conflicts > 0))
    if len(windows) == 1 and corrections.yes_or_no(files, windows[0]):
        rows = np.flatnonzero(flags & ~same_bits(logged.vectors[:, index], truth.inputs[:, index]))
        flags[rows] = corrections.explained(project, view, windows[0], index, logged, truth, rows)
    return flags


def _since(partition: Path, *, again: bool) -> int:
    """When the partition's version was published, in microseconds; never, when `again` and it is the first."""
    published = current(partition)
    if published is None or (again and published.epoch == 1):
        return _NEVER
    return (partition / POINTER).stat().st_mtime_ns // 1_000


def _day(number: int) -> date:
    return _EPOCH + timedelta(days=number)
