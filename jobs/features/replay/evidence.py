"""What speaks for each cause, view by view: what was logged beside what the lake has, and since when it has it."""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from jobs.features.live.plan import DAY, MASK, plan_of
from jobs.features.replay.before import Before, reached
from jobs.features.replay.causes import LATE, STALE, Evidence
from jobs.features.replay.known import Known
from jobs.features.replay.log import NONE, Logged, Trace
from jobs.features.replay.truth import Truth
from jobs.spec import FeatureView, LiveView

_MICROSECOND = timedelta(microseconds=1)


def of_batch_view(view: FeatureView, logged: Logged, trace: Trace, truth: Truth, before: Before) -> Evidence:
    """A batch view's part: since when its value was visible online, beside the one that the lake had made visible.

    Where both are the same batch's, the lake's may have been computed anew since: from events that came late.
    """
    mine, theirs = trace.counters[view.name]["available_at"], truth.counter(view.name, "available_at")
    traced = trace.traced & ~logged.degraded
    read = traced & trace.same[view.name]
    found, same = mine != NONE, mine == theirs
    batches = ((theirs - view.lag // _MICROSECOND) // DAY - 1).tolist()
    days = {batch: [batch] if there else [] for batch, there in zip(batches, theirs != NONE, strict=True)}
    return Evidence(
        other_definition=traced & ~trace.same[view.name],
        nothing_found=(theirs != NONE) & (logged.degraded | (read & ~found)),
        behind=read & found & (mine < theirs),
        other_events=np.zeros(len(logged), dtype=np.bool_),
        corrected=read & found & same & before.changed(view, days, batches),
        lost=before.lost(view, days, batches),
        correction=np.full(len(logged), LATE, dtype=np.int8),
    )


def of_live_view(view: LiveView, logged: Logged, trace: Trace, truth: Truth, before: Before, known: Known) -> Evidence:
    """A live view's part: how many events, and which, were counted online, beside those that there are now.

    An event that was lacking came too late, unless it had been scored or delivered before: then the store was behind,
    or, when it had nothing at all, lost the key. One that was counted and is nowhere now explains nothing, unless the
    lake had it and has been corrected; so may a value of the same events have been.
    """
    mine = [trace.counters[view.name][name] for name in ("events", "checksum")]
    theirs = [truth.counter(view.name, name) for name in ("events", "checksum")]
    traced = trace.traced & ~logged.degraded
    read = traced & trace.same[view.name]
    differs = read & ((mine[0] != theirs[0]) | (mine[1] != theirs[1]))
    plan = plan_of(view)
    own = sum(1 for index in plan.outer if not plan.extents[index].delay)
    alone = (mine[0] == own) & (mine[1] == own * (logged.times("event_time") & MASK))
    fewer = mine[0] <= theirs[0]
    too_late = (known.events > 0) & (known.after == known.events)
    nothing = differs & alone & (theirs[0] > mine[0]) & ~too_late
    behind = differs & ~nothing & fewer & (known.events > 0) & (known.before == known.events)
    days, rows = reached(view, logged.times("event_time"))
    return Evidence(
        other_definition=traced & ~trace.same[view.name],
        nothing_found=nothing | (logged.degraded & truth.found(view.name)),
        behind=behind,
        other_events=differs & fewer & ~nothing & ~behind,
        corrected=read & (~differs | ~fewer) & before.changed(view, days, rows),
        lost=before.lost(view, days, rows),
        correction=np.where(differs, LATE, STALE).astype(np.int8),
    )
