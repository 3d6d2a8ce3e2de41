"""A rollout as a value: the document the ledger keeps, and the only ways it may change; pure.

    starting ─▶ started ─▶ walking ─▶ promoted
        └──────────┴──────────┴─▶ rolling_back ─▶ rolled_back | aborted

The router's weights are a function of the document, so whoever reads it can put them right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

from jobs.errors import TidemillError
from jobs.rollout.steps import weights
from jobs.rollout.verdict import Decision, Verdict
from jobs.services.ports import SLOTS
from jobs.spec import Canary

State = Literal["starting", "started", "walking", "promoted", "rolling_back", "rolled_back", "aborted"]
UNDER_WAY = ("starting", "started", "walking", "rolling_back")


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """Where a release is on its walk, and every verdict on the way."""

    release: str
    digest: str
    epoch_seen: int
    """The champion's epoch when it began, 0 without one: promotion compares it."""
    slot: str
    stable_slot: str | None
    rehearse: str | None = None
    """A misbehaviour asked of the candidate: such a rollout is never promoted."""
    state: State = "starting"
    percent: int = 0
    advanced: bool = False
    """Whether the present step's verdict was PROMOTE."""
    started_at: str
    step_started_at: str | None = None
    """None until the weights of the step are known to be in force."""
    baseline: Mapping[str, Any] | None = None
    """What the router had counted when the step began."""
    compared_with: Mapping[str, Any] | None = None
    """What the stable slot showed in the last step that left it traffic."""
    process: str | None = None
    """The candidate's process at the start: another one later is a restart."""
    ending: State | None = None
    reason: str = ""
    epoch: int | None = None
    """The epoch it was promoted to."""
    verdicts: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> Self:
        """The rollout that a ledger document holds."""
        return cls(**{**document, "verdicts": tuple(document.get("verdicts", ()))})

    def document(self) -> dict[str, Any]:
        """What the ledger keeps."""
        return asdict(self)

    @property
    def under_way(self) -> bool:
        return self.state in UNDER_WAY

    @property
    def first(self) -> bool:
        """Whether there is no champion to return to."""
        return self.stable_slot is None


def traffic(rollout: Rollout) -> dict[str, int] | None:
    """The weights that must be in force, both slots named, summing to 100; None when no slot has a claim.

    >>> walk = Rollout(release="r", digest="d", epoch_seen=1, slot="green", stable_slot="blue", started_at="")
    >>> traffic(replace(walk, state="walking", percent=25)), traffic(replace(walk, state="rolled_back", percent=25))
    ({'blue': 75, 'green': 25}, {'blue': 100, 'green': 0})
    """
    if rollout.state == "promoted":
        shares = {rollout.slot: 100}
    elif rollout.state == "walking":
        shares = weights(rollout.slot, rollout.stable_slot, rollout.percent)
    elif rollout.stable_slot is not None:
        shares = {rollout.stable_slot: 100}
    else:
        return None
    return {slot: shares.get(slot, 0) for slot in SLOTS}


def refuse_second(present: Rollout, release: str, rehearse: str | None) -> None:
    """Raises TidemillError unless the rollout under way is this very one, which then continues."""
    if present.under_way and (present.release, present.rehearse) != (release, rehearse):
        raise TidemillError(
            f"release {present.release} is being rolled out ({present.state}, {present.percent} %); {release} was not "
            "started. Finish that walk, or end it with `tidemill rollout abort`"
        )


def enter(rollout: Rollout, percent: int, policy: Canary) -> Rollout:
    """The rollout at a step, its weights not yet in force; raises TidemillError for any but the next step."""
    if percent not in policy.steps:
        raise TidemillError(f"{percent} % is not a step of this project; they are {_list(policy.steps)}")
    if percent == rollout.percent:
        return rollout
    following = next(step for step in policy.steps if step > rollout.percent)
    if not rollout.first and (percent != following or (rollout.percent and not rollout.advanced)):
        wanted = following if not rollout.percent or rollout.advanced else rollout.percent
        raise TidemillError(
            f"release {rollout.release} is at {rollout.percent} % and may not go to {percent} % yet; "
            f"the weights were left as they are. Next is `tidemill rollout step --percent {wanted}`"
        )
    return replace(
        rollout, state="walking", percent=percent, advanced=False, step_started_at=None, baseline=None, reason=""
    )


def judged(rollout: Rollout, verdict: Verdict, at: str) -> Rollout:
    """The rollout after a verdict on its present step; of a step's holds only the last is kept."""
    entry = {"percent": rollout.percent, "at": at, **verdict.document()}
    last = rollout.verdicts[-1] if rollout.verdicts else None
    held = last is not None and last["verdict"] == Decision.HOLD.value and last["percent"] == rollout.percent
    verdicts = (*(rollout.verdicts[:-1] if held else rollout.verdicts), entry)
    changed = replace(rollout, verdicts=verdicts, reason=verdict.reason)
    if verdict.decision is Decision.PROMOTE:
        return replace(changed, advanced=True)
    return ended(changed, "rolled_back", verdict.reason) if verdict.decision is Decision.ROLL_BACK else changed


def ended(rollout: Rollout, how: State, reason: str) -> Rollout:
    """The rollout on its way back, to end as `how` once the weights are back in force."""
    return replace(rollout, state="rolling_back", ending=how, reason=reason)


def refuse_early(rollout: Rollout) -> None:
    """Raises TidemillError unless the release has all the traffic and may keep it."""
    if not (rollout.state == "walking" and rollout.percent == 100 and rollout.advanced):
        raise TidemillError(
            f"release {rollout.release} is {rollout.state} at {rollout.percent} % and has not passed the step at "
            "100 %; the champion was left as it is. See `tidemill rollout status`"
        )


def _list(steps: tuple[int, ...]) -> str:
    return ", ".join(map(str, steps))
