"""What a candidate has to show before it gets traffic, and whether it is still there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from jobs.errors import MachineError, ServiceError, TamperedError
from jobs.lake import Lake
from jobs.release.bundle import verify_bundle
from jobs.release.checks import Check, state_of
from jobs.release.probe import TOLERANCE
from jobs.rollout.adapters import Routing
from jobs.rollout.machine import Rollout
from jobs.rollout.slots import Assignment, Slots
from jobs.spec import Canary

_LOOKS = 3


def examine(
    slots: Slots, router: Routing, lake: Lake, project: str, rollout: Rollout, policy: Canary,
    beside: Assignment | None = None,
) -> tuple[list[Check], str | None]:  # fmt: skip
    """The checks of a start, each made only after the one before it passed, and the candidate's process.

    The bundle's bytes, the slot serving just that digest after it answered made-up requests, and how the slot's own
    process scores the vectors that the release stored when it was trained; with `beside`, that it holds this release as
    well. Raises ServiceError, with nothing decided, when the slot cannot be drained first.
    """
    folder = lake.release(project, rollout.release)
    checks: list[Check] = []
    if not rollout.first:  # before the first release, a slot has all the traffic and answers none of it
        router.drain(project, rollout.slot, router.drain_seconds)
    try:
        verify_bundle(folder, rollout.digest)
        checks.append(_check("verified", True, "every byte is as its digest says"))
        slots.assign(
            project, rollout.slot, rollout.release, rollout.digest, rollout.epoch_seen, folder, rollout.rehearse, beside
        )
        slots.restart(project, rollout.slot)
        state = slots.wait_ready(project, rollout.slot, rollout.release, slots.ready_seconds)
    except (TamperedError, MachineError, ServiceError, OSError) as error:
        checks.append(_check("ready", False, str(error)))
        return checks, None
    same = state.get("digest") == rollout.digest
    checks.append(_check("ready", same, "ready" if same else f"it serves digest {state.get('digest')}"))
    checks.append(parity_check(state.get("parity"), policy.parity_rows))
    if beside:
        held = state.get("beside") == beside.release
        said = (
            f"it holds {beside.release} as well" if held else f"{beside.release} is not beside it: {state.get('alone')}"
        )
        checks.append(_check("beside", held, said))
    return checks, _process(state)


def parity_check(found: Mapping[str, Any] | None, rows: int) -> Check:
    """Whether a slot scored as many stored vectors as are asked for, each within a millionth of the stored score.

    >>> parity_check({"rows": 1000, "furthest": 0.0}, 1000).detail
    '1000 stored vectors are scored as they were in training, 0 apart at most'
    >>> parity_check({"rows": 40, "furthest": 0.0}, 1000).detail
    'the release stores 40 vectors to compare, of the 1000 that its project asks for'
    """
    known = found or {}
    stored, furthest = int(known.get("rows") or 0), known.get("furthest")
    far = furthest is None or not furthest <= TOLERANCE
    if known.get("refused"):
        detail = f"it does not answer: {known['refused']}"
    elif stored < rows:
        detail = f"the release stores {stored} vectors to compare, of the {rows} that its project asks for"
    elif far:
        detail = f"{stored} stored vectors are scored {furthest} apart from training, more than {TOLERANCE:g}"
    else:
        detail = f"{stored} stored vectors are scored as they were in training, {furthest:.2g} apart at most"
    return Check(
        name="parity", value=furthest, bound=TOLERANCE, state=state_of(stored >= rows and not far), detail=detail,
        rule="value <= bound", samples={"vectors": stored},
    )  # fmt: skip


def alive(slots: Slots, project: str, rollout: Rollout) -> tuple[bool, int]:
    """Whether the candidate serves what it was told to, and how often its process was replaced since the start."""
    state: Mapping[str, Any] = {}
    for look in range(_LOOKS):  # one lost answer under load is no death
        if look:
            time.sleep(1)
        state = slots.state(project, rollout.slot)
        if state.get("release"):
            break
    ready = (state.get("release"), state.get("digest")) == (rollout.release, rollout.digest)
    process = _process(state)
    return ready, int(ready and None not in (process, rollout.process) and process != rollout.process)


def _check(name: str, passed: bool, detail: str) -> Check:
    return Check(name=name, state=state_of(passed), detail=detail)


def _process(state: Mapping[str, Any]) -> str | None:
    return None if state.get("process") is None else str(state["process"])
