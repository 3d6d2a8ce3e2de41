"""What is seen of a candidate at its step, and what follows from it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from jobs.lake import Lake
from jobs.release.checks import Check, State
from jobs.release.ledger import Ledger
from jobs.rollout import candidate, machine
from jobs.rollout.adapters import Routing
from jobs.rollout.guards import chance
from jobs.rollout.machine import Rollout
from jobs.rollout.matured import matured
from jobs.rollout.measure import Counts, count, observed, recalled
from jobs.rollout.observed import Observed
from jobs.rollout.shadow import compared, judge, passed_over
from jobs.rollout.slots import Slots
from jobs.rollout.steps import decide, decide_first
from jobs.rollout.verdict import AB_TEST, Decision, Verdict, conclude
from jobs.settings import Settings
from jobs.spec import HALF, Canary, Project

_EXPERIMENT = {Decision.PROMOTE.value: State.PASSED, Decision.ROLL_BACK.value: State.FAILED}
_DAY = 86_400


class Watch:
    """One project's router and slots, as the verdicts see them."""

    def __init__(self, project: Project, settings: Settings, ledger: Ledger, router: Routing, slots: Slots) -> None:
        self._project, self._settings, self._ledger = project, settings, ledger
        self._router, self._slots = router, slots

    def count(self, rollout: Rollout) -> Counts | None:
        """What the router and the slots have counted until now; None when the router cannot be asked."""
        return count(
            self._router, self._slots, self._project.name, machine.mirrored(rollout) if self._router.mirrors else None
        )

    def verdict(self, rollout: Rollout, counted: Counts | None) -> tuple[Verdict, Observed | None]:
        """The verdict on the present step, and what the stable slot did in it if it had a part."""
        policy, waited = machine.policy_of(rollout, self._project.canary), seconds_since(rollout.step_started_at)
        mine, stable = self._observed(rollout, counted)
        if rollout.first:
            return decide_first(mine), stable
        if rollout.step == machine.SHADOW and not self._router.mirrors:
            return passed_over(mine), stable
        if rollout.step == machine.SHADOW:
            answers = compared(self._project, self._settings, rollout)
            return judge(mine, stable, answers, waited, policy), stable
        if rollout.step == machine.BAKE:
            policy = replace(policy, bake_seconds=policy.final_bake_seconds)
        if policy.policy == "ab" and rollout.percent == HALF:
            patient = replace(policy, deadline_seconds=self._days * _DAY)
            return self.decide_ab(rollout, decide(HALF, mine, stable, waited, patient), waited), stable
        return decide(rollout.percent, mine, stable, waited, policy, self._labels(rollout, policy)), stable

    @property
    def _days(self) -> int:
        return self._project.experiment.maximum_days if self._project.experiment else 0

    def _labels(self, rollout: Rollout, policy: Canary) -> Check | None:
        """The check on the labels that have matured since the rollout began, against the champion's."""
        champion = self._ledger.champion(self._project.name)
        if champion is None:
            return None
        return matured(
            self._project, Lake(self._settings.lake_uri), candidate=rollout.release, stable=champion.release,
            since=datetime.fromisoformat(rollout.started_at), alpha=chance(policy),
        )  # fmt: skip

    def decide_ab(self, rollout: Rollout, guard: Verdict, waited: float) -> Verdict:
        """The verdict at half of the traffic: the guardrails', and that of the release's experiment in the ledger.

        Until its newest verdict of kind `experiment` is PROMOTE or ROLL BACK, it holds; at the deadline it is over.
        """
        verdicts = self._ledger.verdicts(self._project.name, "experiment")
        began = datetime.fromisoformat(rollout.started_at)
        mine = [one for one in verdicts if one.subject == rollout.release and one.at >= began]
        said = str(mine[0].verdict) if mine else None
        reason = str(mine[0].document.get("reason", said)) if mine else "the experiment has decided nothing yet"
        check = Check(name="experiment", state=_EXPERIMENT.get(said or "", State.UNDECIDED), detail=reason)
        return conclude(
            [*guard.checks, check], AB_TEST, waited=waited, deadline=self._days * _DAY,
            again=self._project.canary.bake_seconds, where="at half of the traffic", because=reason,
        )  # fmt: skip

    def _observed(self, rollout: Rollout, counted: Counts | None) -> tuple[Observed, Observed | None]:
        ready, restarts = candidate.alive(self._slots, self._project.name, rollout)
        mine = replace(
            observed(rollout.baseline, counted, rollout.slot), ready=ready, restarts=restarts,
            unmeasured_looks=unmeasured_before(rollout) + 1,
        )  # fmt: skip
        if rollout.stable_slot is None:
            return mine, None
        if rollout.percent == 100:
            return mine, recalled(rollout.compared_with) if rollout.compared_with else None
        return mine, observed(rollout.baseline, counted, rollout.stable_slot)


def unmeasured_before(rollout: Rollout) -> int:
    """How many looks in a row, up to the last one at this step, could not be measured."""
    last = rollout.verdicts[-1] if rollout.verdicts else {}
    if last.get("step") != rollout.step or last.get("rule") != "measured":
        return 0
    return next(int(check["value"] or 0) for check in last["checks"] if check["name"] == "measured")


def seconds_since(moment: str | None) -> float:
    """How long ago that was; 0 for what has not been yet, by a clock that was put back too."""
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()) if moment else 0.0
