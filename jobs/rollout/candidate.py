"""What a candidate has to show before it gets traffic, and whether it is still there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from jobs.errors import ServiceError, TamperedError
from jobs.lake import Lake
from jobs.release.bundle import verify_bundle
from jobs.release.checks import Check, state_of
from jobs.rollout.machine import Rollout
from jobs.rollout.slots import Slots

READY_SECONDS = 60
_LOOKS = 3
_PARITY = "parity.json"


def examine(slots: Slots, lake: Lake, project: str, rollout: Rollout) -> tuple[list[Check], str | None]:
    """The checks of a start, each made only after the one before it passed, and the candidate's process.

    The bundle's bytes, its scores of stored vectors against the stored scores, and the slot serving just that digest.
    """
    folder = lake.release(project, rollout.release)
    checks: list[Check] = []
    try:
        manifest = verify_bundle(folder, rollout.digest)
        checks.append(_check("verified", True, "every byte is as its digest says"))
        stored = _PARITY in manifest["files"]
        checks.append(_check("parity", stored, "scores as stored" if stored else "it stores no scores to compare with"))
        if not stored:
            return checks, None
        slots.assign(
            project, rollout.slot, rollout.release, rollout.digest, rollout.epoch_seen, folder, rollout.rehearse
        )
        slots.restart(project, rollout.slot)
        state = slots.wait_ready(project, rollout.slot, rollout.release, READY_SECONDS)
    except (TamperedError, ServiceError, OSError) as error:
        checks.append(_check("ready", False, str(error)))
        return checks, None
    same = state.get("digest") == rollout.digest
    checks.append(_check("ready", same, "ready" if same else f"it serves digest {state.get('digest')}"))
    return checks, _process(state)


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
