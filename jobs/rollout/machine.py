"""A rollout as a value: the document the ledger keeps, and the only ways it may change; pure.

    starting ─▶ started ─▶ walking (shadow, 5, 25, 50, 100, bake) ─▶ promoted
        └──────────┴──────────┴─▶ rolling_back ─▶ rolled_back | aborted

The router's weights, and whom it mirrors requests to, are functions of the document: whoever reads it can put them right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

from jobs.errors import TidemillError
from jobs.rollout.steps import weights
from jobs.rollout.verdict import Decision, Verdict
from jobs.services.ports import SLOTS
from jobs.spec import HALF, Canary, Interleaving, Project

State = Literal["starting", "started", "walking", "promoted", "rolling_back", "rolled_back", "aborted"]
Policy = Literal["canary", "blue_green", "ab"]
START, SHADOW, BAKE, PROMOTION = "start", "shadow", "bake", "promotion"
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
    step: str = START
    """Where it is: `start`, `shadow`, a percentage such as `25`, or `bake`."""
    percent: int = 0
    advanced: bool = False
    """Whether the present step's verdict was PROMOTE."""
    started_at: str
    policy: Policy | None = None
    """In place of the project's policy: an experiment's `ab`."""
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


def mirrored(rollout: Rollout) -> str | None:
    """The slot that is sent a copy of every request, if any."""
    return rollout.slot if rollout.state == "walking" and rollout.step == SHADOW else None


def interleaved(rollout: Rollout, project: Project) -> bool:
    """Whether the candidate's lists are drafted with the stable release's now: in an experiment, up to half of the
    traffic."""
    within = rollout.under_way and rollout.state != "rolling_back" and rollout.percent <= HALF and not rollout.first
    asked = policy_of(rollout, project.canary).policy == "ab" and rollout.rehearse is None
    return within and asked and isinstance(project.experiment, Interleaving)


def steps_of(rollout: Rollout, policy: Canary) -> tuple[str, ...]:
    """The steps that the rollout visits, in order; a first release has nobody to be compared with.

    >>> walk = Rollout(release="r", digest="d", epoch_seen=1, slot="green", stable_slot="blue", started_at="")
    >>> steps_of(walk, Canary(steps=(50, 100))), steps_of(walk, Canary(policy="blue_green", shadow_seconds=0))
    (('shadow', '50', '100', 'bake'), ('100', 'bake'))
    """
    policy = policy_of(rollout, policy)
    if rollout.first:
        return tuple(map(str, policy.walk))
    shadow = (SHADOW,) if policy.shadow_seconds else ()
    return (*shadow, *map(str, policy.walk), *((BAKE,) if policy.final_bake_seconds else ()))


def policy_of(rollout: Rollout, policy: Canary) -> Canary:
    """The project's policy as this rollout follows it."""
    return replace(policy, policy=rollout.policy) if rollout.policy else policy


def passed(rollout: Rollout, step: str, policy: Canary) -> bool:
    """Whether there is nothing to decide at a step: it was left behind, or this rollout does not visit it."""
    steps = steps_of(rollout, policy)
    if step not in steps:
        return step in (SHADOW, BAKE)
    here = steps.index(rollout.step) if rollout.step in steps else -1
    return here > steps.index(step) or (rollout.step == step and rollout.advanced)


def refuse_second(present: Rollout, release: str, rehearse: str | None) -> None:
    """Raises TidemillError unless the rollout under way is this very one, which then continues."""
    if present.under_way and (present.release, present.rehearse) != (release, rehearse):
        raise TidemillError(
            f"release {present.release} is being rolled out ({present.state}, {present.percent} %); {release} was not "
            "started. Finish that walk, or end it with `tidemill rollout abort`"
        )


def enter(rollout: Rollout, step: str, policy: Canary) -> Rollout:
    """The rollout at a step, its weights not yet in force; raises TidemillError for any but the next step."""
    steps = steps_of(rollout, policy)
    if step not in steps:
        raise TidemillError(f"{step} is not a step of this project; they are {', '.join(steps)}")
    if step == rollout.step:
        return rollout
    here = steps.index(rollout.step) if rollout.step in steps else -1
    left = here < 0 or rollout.advanced
    if not rollout.first and (steps.index(step) != here + 1 or not left):
        wanted = steps[here + 1] if left and here + 1 < len(steps) else rollout.step
        raise TidemillError(
            f"release {rollout.release} is at {rollout.percent} % and may not go to {step} yet; "
            f"the weights were left as they are. Next is `{command_of(wanted)}`"
        )
    percent = {SHADOW: 0, BAKE: 100}.get(step)
    return replace(
        rollout, state="walking", step=step, percent=int(step) if percent is None else percent, advanced=False,
        step_started_at=None, baseline=None, reason="",
    )  # fmt: skip


def command_of(step: str) -> str:
    """What to type for a step.

    >>> command_of("25"), command_of("shadow")
    ('tidemill rollout step --percent 25', 'tidemill rollout shadow')
    """
    return f"tidemill rollout step --percent {step}" if step.isdigit() else f"tidemill rollout {step}"


def judged(rollout: Rollout, verdict: Verdict, at: str, step: str | None = None) -> Rollout:
    """The rollout after a verdict on its present step, or on `step`; of a step's holds only the last is kept."""
    entry = {"step": step or rollout.step, "percent": rollout.percent, "at": at, **verdict.document()}
    last = rollout.verdicts[-1] if rollout.verdicts else None
    held = last is not None and last["verdict"] == Decision.HOLD.value and last.get("step") == entry["step"]
    verdicts = (*(rollout.verdicts[:-1] if held else rollout.verdicts), entry)
    changed = replace(rollout, verdicts=verdicts, reason=verdict.reason)
    if verdict.decision is Decision.PROMOTE:
        return replace(changed, advanced=True)
    return ended(changed, "rolled_back", verdict.reason) if verdict.decision is Decision.ROLL_BACK else changed


def ended(rollout: Rollout, how: State, reason: str) -> Rollout:
    """The rollout on its way back, to end as `how` once the weights are back in force."""
    return replace(rollout, state="rolling_back", ending=how, reason=reason)


def refuse_early(rollout: Rollout, policy: Canary) -> None:
    """Raises TidemillError unless the release has all the traffic, passed its last step, and may keep it."""
    last = steps_of(rollout, policy)[-1]
    if not (rollout.state == "walking" and rollout.step == last and rollout.advanced):
        raise TidemillError(
            f"release {rollout.release} is {rollout.state} at {rollout.percent} % and has not passed its last step, "
            f"`{command_of(last)}`; the champion was left as it is. See `tidemill rollout status`"
        )
