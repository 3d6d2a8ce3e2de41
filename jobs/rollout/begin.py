"""How a rollout begins: which release, in which slot, and who serves meanwhile."""

from __future__ import annotations

import hashlib

from jobs import mirror
from jobs.errors import MissingBatchError, NothingToDo
from jobs.lake import Lake, address
from jobs.release.ledger import Champion, Ledger
from jobs.rollout.adapters import Routing
from jobs.rollout.machine import Rollout
from jobs.rollout.slots import Slots
from jobs.services.ports import SLOTS
from jobs.storage import MANIFEST


def wanted(
    ledger: Ledger, lake: Lake, project: str, release: str | None, rehearse: str | None, under_way: Rollout | None
) -> tuple[str, str]:
    """The release to roll out and its digest: the one asked for, else the challenger, else the one under way.

    Raises NothingToDo when there is none, and MissingBatchError for one that nobody registered.
    """
    champion, challenger = ledger.champion(project), ledger.challenger(project)
    known = {one.release: one.digest for one in (champion, challenger) if one}
    if release is None and challenger:
        release = challenger.release
    elif release is None and under_way:
        release = under_way.release
    elif release is None and rehearse and champion:
        release = champion.release
    if release is None:
        raise NothingToDo(f"project {project!r} has no challenger to roll out; `tidemill register` makes one")
    if champion and release == champion.release and not rehearse:
        raise NothingToDo(f"release {release} is the champion already")
    if release in known:
        return release, known[release]
    folder = lake.release(project, release)
    manifest = mirror.read(folder / MANIFEST)
    if manifest is None:
        raise MissingBatchError(f"no release {release[:80]!r} at {address(folder)}; `tidemill register` writes one")
    return release, hashlib.sha256(manifest).hexdigest()


def stable_slot(slots: Slots, router: Routing, lake: Lake, project: str, champion: Champion | None) -> str | None:
    """The slot that serves the champion, None without one; a champion that no slot serves is loaded first."""
    if champion is None:
        return None
    shares = router.weights(project)
    told = {slot: slots.assignment(project, slot) for slot in SLOTS}
    serving = [slot for slot, one in told.items() if one and one.digest == champion.digest and not one.rehearse]
    if serving:
        return max(serving, key=lambda slot: shares.get(slot, 0))
    slot = SLOTS[0]
    folder = lake.release(project, champion.release)
    slots.assign(project, slot, champion.release, champion.digest, champion.epoch, folder)
    slots.restart(project, slot)
    slots.wait_ready(project, slot, champion.release, slots.ready_seconds)
    return slot
