"""Carries a rollout out: ledger first, then the router, so that whoever comes next can finish the sentence.

Every entry puts the router's weights to what the ledger's document says, before anything else is decided.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from jobs.errors import StaleEpochError, TidemillError
from jobs.lake import Lake
from jobs.release.ledger import Champion, Ledger
from jobs.rollout import begin, candidate, machine
from jobs.rollout.adapters import adapters
from jobs.rollout.machine import Policy, Rollout, State
from jobs.rollout.measure import kept
from jobs.rollout.replayed import replayed
from jobs.rollout.routes import Sharing
from jobs.rollout.slots import Assignment
from jobs.rollout.steps import decide_promotion
from jobs.rollout.verdict import START, Decision, Verdict, conclude
from jobs.rollout.watch import Watch, seconds_since
from jobs.services.ports import SLOTS
from jobs.settings import Settings
from jobs.spec import Interleaving, Project
from jobs.storage import locked, pause


class Controller:
    """The rollouts of one project on this installation."""

    def __init__(self, project: Project, settings: Settings, ledger: Ledger) -> None:
        self.project, self.ledger = project, ledger
        self.lake, (self.slots, self.router) = Lake(settings.lake_uri), adapters(settings)
        self._settings = settings
        self._watch = Watch(project, settings, ledger, self.router, self.slots)

    def present(self) -> tuple[int, Rollout] | None:
        """The ledger's document and its version, or None before the first rollout."""
        found = self.ledger.rollout(self.project.name)
        return (found[0], Rollout.load(found[1])) if found else None

    def start(self, release: str | None, rehearse: str | None, policy: Policy | None = None) -> Rollout:
        """The rollout with its release loaded and checked in the idle slot, or rolled back because it was not.

        It follows the project's policy, or the one given.

        Raises NothingToDo without a release to start, and TidemillError while another one is under way.
        """
        with self._alone():
            version, rollout = self._begun(release, rehearse, policy)
            pause("rollout-begun")
            self._enforce(rollout)
        if rollout.state != "starting":
            return rollout
        checks, process = candidate.examine(
            self.slots, self.router, self.lake, self.project.name, rollout, self.project.canary, self._beside(rollout)
        )
        with self._alone():
            now = self.present()
            if now is None or now[0] != version:  # somebody else started or aborted it meanwhile
                return now[1] if now else rollout
            verdict = conclude(checks, START, where="at the start", because="ready, and scores as stored")
            rollout = machine.judged(replace(rollout, state="started", process=process), verdict, _now())
            rollout = replace(rollout, advanced=False)
            return self._finished(self._save(version, rollout), rollout)

    def step(self, step: str) -> tuple[Rollout, Verdict | None]:
        """The rollout after a look at a step (`shadow`, a percentage, `bake`), and the verdict.

        The verdict is None where that step was decided before, or is none of this rollout's.
        """
        with self._alone():
            version, rollout = self._resumed()
            if rollout.state == "starting":
                raise TidemillError(
                    f"release {rollout.release} is not ready; `tidemill rollout start` has to end first"
                )
            if not rollout.under_way or machine.passed(rollout, step, self.project.canary):
                return rollout, None
            entered = machine.enter(rollout, step, self.project.canary)
            if entered != rollout:
                version = self._save(version, entered)
            pause("rollout-entered")
            self._enforce(entered)
            pause("rollout-weights")
            counted = self._watch.count(entered)
            if entered.step_started_at is None or entered.baseline is None:
                began = entered.step_started_at or _now()
                entered = replace(entered, step_started_at=began, baseline=counted)
                version = self._save(version, entered)
            verdict, stable = self._watch.verdict(entered, counted)
            after = machine.judged(entered, verdict, _now())
            if verdict.decision is Decision.PROMOTE and stable is not None and entered.percent < 100:
                after = replace(after, compared_with=kept(stable))
            version = self._save(version, after)
            pause("rollout-judged")
            return self._finished(version, after), verdict

    def promote(self) -> tuple[Rollout, Verdict | None]:
        """The rollout with its release champion, and the verdict on its replay; None where that was decided before.

        A rehearsal, a release somebody overtook, or one whose answers are not what the lake says is rolled back
        instead. Raises TidemillError unless the release has passed the step at 100 %.
        """
        with self._alone():
            version, rollout = self._resumed()
            if not rollout.under_way:
                return rollout, None
            machine.refuse_early(rollout, self.project.canary)
            if rollout.rehearse:
                rollout = machine.ended(
                    rollout, "rolled_back", f"rehearsal ended ({rollout.rehearse}) without a rollback"
                )
                return self._finished(self._save(version, rollout), rollout), None
            verdict = None
            crowned = self._is_crowned(rollout)
        if not crowned:
            verdict = self._replayed(rollout)
        with self._alone():
            now = self.present()
            if now is None or now[0] != version:  # somebody else ended it meanwhile
                return now[1] if now else rollout, None
            if verdict:
                rollout = machine.judged(rollout, verdict, _now(), machine.PROMOTION)
                version = self._save(version, rollout)
                pause("rollout-replayed")
                if verdict.decision is not Decision.PROMOTE:
                    return self._finished(version, rollout), verdict
            return self._promoted(version, rollout), verdict

    def _promoted(self, version: int, rollout: Rollout) -> Rollout:
        try:
            champion = self._crowned(rollout)
        except StaleEpochError as error:
            rollout = machine.ended(rollout, "rolled_back", str(error))
            return self._finished(self._save(version, rollout), rollout)
        pause("rollout-promoted")
        folder = self.lake.release(self.project.name, rollout.release)
        self.slots.assign(self.project.name, rollout.slot, rollout.release, rollout.digest, champion.epoch, folder)
        rollout = replace(rollout, state="promoted", epoch=champion.epoch, reason="promoted")
        self._save(version, rollout)
        self._enforce(rollout)
        self._record(rollout, Decision.PROMOTE)
        return rollout

    def _replayed(self, rollout: Rollout) -> Verdict:
        found = None if rollout.first else replayed(self.project, self._settings, rollout)
        advanced = next(one for one in reversed(rollout.verdicts) if one["verdict"] == Decision.PROMOTE.value)
        waited = seconds_since(str(advanced["at"]))
        return decide_promotion(found, waited, self.project.canary, self.project.replay)

    def abort(self, reason: str) -> tuple[Rollout, bool]:
        """The rollout aborted and all traffic with the champion, and whether this call did it.

        A release that has been made champion already, by a call that was killed right then, stays it.
        """
        with self._alone():
            version, rollout = self._resumed()
            if not rollout.under_way:
                return rollout, False
            if self._is_crowned(rollout):
                return self._promoted(version, rollout), False
            rollout = machine.ended(rollout, "aborted", reason)
            return self._finished(self._save(version, rollout), rollout), True

    def _begun(self, release: str | None, rehearse: str | None, policy: Policy | None) -> tuple[int, Rollout]:
        found = self.present()
        if found and found[1].state == "rolling_back":
            self._finished(*found)
            found = self.present()
        under_way = found[1] if found and found[1].under_way else None
        champion = self.ledger.champion(self.project.name)
        name, digest = begin.wanted(self.ledger, self.lake, self.project.name, release, rehearse, under_way)
        if found and under_way:
            machine.refuse_second(under_way, name, rehearse)
            return found
        stable = begin.stable_slot(self.slots, self.router, self.lake, self.project.name, champion)
        rollout = Rollout(
            release=name,
            digest=digest,
            epoch_seen=champion.epoch if champion else 0,
            slot=next(slot for slot in SLOTS if slot != stable),
            stable_slot=stable,
            rehearse=rehearse,
            started_at=_now(),
            policy=policy,
        )
        return self._save(found[0] if found else 0, rollout), rollout

    def _beside(self, rollout: Rollout) -> Assignment | None:
        """What the candidate's slot holds beside the candidate: the champion, as its own slot is told to serve it."""
        if not machine.interleaved(rollout, self.project):
            return None
        told = self.slots.assignment(self.project.name, str(rollout.stable_slot))
        return told and replace(told, beside=None)

    def _is_crowned(self, rollout: Rollout) -> bool:
        """Whether an attempt before this one was killed right after it won."""
        champion = self.ledger.champion(self.project.name)
        mine = (rollout.epoch_seen + 1, rollout.release, rollout.digest)
        return champion is not None and (champion.epoch, champion.release, champion.digest) == mine

    def _crowned(self, rollout: Rollout) -> Champion:
        champion = self.ledger.champion(self.project.name)
        if champion and self._is_crowned(rollout):
            return champion
        return self.ledger.promote(self.project.name, rollout.epoch_seen, rollout.release, rollout.digest)

    def _finished(self, version: int, rollout: Rollout) -> Rollout:
        """The rollout as it is, or, when it is on its way back, ended: weights first, then the ledger."""
        if rollout.state != "rolling_back":
            return rollout
        self._enforce(rollout)
        pause("rollout-back")
        if rollout.first:  # nobody else can take the traffic: better no answer than this one's
            self.slots.clear(self.project.name, rollout.slot)
            self.slots.restart(self.project.name, rollout.slot)
        if not rollout.rehearse:
            self.ledger.clear_challenger(self.project.name, rollout.release)
        how: State = rollout.ending or "rolled_back"
        rollout = replace(rollout, state=how)
        self._record(rollout, Decision.ROLL_BACK)
        self._save(version, rollout)
        return rollout

    def _resumed(self) -> tuple[int, Rollout]:
        """The present rollout with what was interrupted finished and its weights in force."""
        found = self.present()
        if found is None:
            raise TidemillError(
                f"project {self.project.name!r} has had no rollout; begin with `tidemill rollout start`"
            )
        if found[1].state == "rolling_back":
            self._finished(*found)
            found = self.present() or found
        elif found[1].under_way or found[1].state == "promoted":
            self._enforce(found[1])
        return found

    def _enforce(self, rollout: Rollout) -> None:
        weights = machine.traffic(rollout)
        if weights is None:
            return
        over = isinstance(self.project.experiment, Interleaving) and not machine.interleaved(rollout, self.project)
        back = rollout.state == "rolling_back"
        if over and not back:  # before it has all the traffic; on the way back the weights come first
            self.slots.part(self.project.name, rollout.slot)
        stable = rollout.slot if rollout.first or rollout.state == "promoted" else str(rollout.stable_slot)
        shadow = machine.mirrored(rollout) if self.router.mirrors else None
        if not self.router.holds(self.project.name, Sharing(weights=weights, stable=stable, shadow=shadow)):
            self.router.set_weights(self.project.name, weights, stable=stable, shadow=shadow)
        if over and back:
            self.slots.part(self.project.name, rollout.slot)

    def _save(self, version: int, rollout: Rollout) -> int:
        return self.ledger.save_rollout(self.project.name, version, rollout.document())

    def _record(self, rollout: Rollout, decision: Decision) -> None:
        """How it ended, with the verdict that ended it: none did when somebody aborted it."""
        last = rollout.verdicts[-1] if rollout.verdicts and rollout.state != "aborted" else {}
        facts = {
            "verdict": decision.value, "rule": last.get("rule") or ("" if decision is Decision.PROMOTE else rollout.state), "reason": rollout.reason,
            "checks": last.get("checks", []), "state": rollout.state, "percent": rollout.percent,
            "rehearse": rollout.rehearse, "epoch": rollout.epoch, "verdicts": list(rollout.verdicts),
        }  # fmt: skip
        self.ledger.record_verdict(self.project.name, "rollout", rollout.release, decision, facts)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with locked(self._settings.home / "rollout" / self.project.name):
            yield


def _now() -> str:
    return datetime.now(UTC).isoformat()
