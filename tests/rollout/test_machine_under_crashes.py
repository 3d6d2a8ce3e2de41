"""Any sequence of calls and crashes: the weights sum to 100, and there is one champion."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jobs.errors import TidemillError
from jobs.rollout import machine
from jobs.rollout.machine import Rollout
from jobs.rollout.routes import Sharing
from jobs.rollout.verdict import Decision, Verdict
from jobs.services.ports import SLOTS
from jobs.spec import Canary

CRASHES = st.integers(0, 4)
"""After how many writes a call's process is killed; a call has three at most, so that 4 lets it live."""


@dataclass(frozen=True)
class Champion:
    epoch: int
    release: str
    slot: str


class Killed(Exception):
    """The process that was at work is no more."""


class World(RuleBasedStateMachine):
    """The ledger and the routes file, written one after the other, as the controller does: the ledger first."""

    def __init__(self) -> None:
        super().__init__()
        self.policy = Canary(steps=(5, 100))
        self.document: Rollout | None = None
        self.routes = Sharing(weights={"blue": 100, "green": 0}, stable="blue")
        self.history: list[Champion] = []
        self.left, self.number = 4, 0

    @property
    def champion(self) -> Champion | None:
        return self.history[-1] if self.history else None

    def write(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed

    def save(self, rollout: Rollout) -> Rollout:
        self.write()
        self.document = Rollout.load(rollout.document())
        return rollout

    def enforce(self, rollout: Rollout) -> None:
        weights = machine.traffic(rollout)
        stable = rollout.slot if rollout.first or rollout.state == "promoted" else str(rollout.stable_slot)
        if weights is not None:
            wanted = Sharing(weights=weights, stable=stable, shadow=machine.mirrored(rollout))
            if self.routes != wanted:
                self.write()
                self.routes = wanted

    def finished(self, rollout: Rollout) -> None:
        if rollout.state == "rolling_back":
            self.enforce(rollout)
            self.save(replace(rollout, state=rollout.ending or "rolled_back"))

    def resumed(self) -> Rollout | None:
        if self.document is None:
            return None
        self.finished(self.document)
        self.enforce(self.document)
        return self.document

    @rule(policy=st.sampled_from(["canary", "blue_green", "ab"]), shadow=st.booleans(), bake=st.booleans())
    @precondition(lambda self: self.document is None or not self.document.under_way)
    def declare(self, policy: Any, shadow: bool, bake: bool) -> None:
        self.policy = Canary(policy=policy, steps=(5, 100), shadow_seconds=int(shadow), final_bake_seconds=int(bake))

    @rule(crash=CRASHES, ready=st.booleans())
    def start(self, crash: int, ready: bool) -> None:
        self.left = crash
        with suppress(Killed):
            found = self.resumed()
            if found is None or not found.under_way:
                self.number += 1
                stable = self.champion.slot if self.champion else None
                found = self.save(
                    Rollout(
                        release=f"r-{self.number}", digest="d", epoch_seen=self.champion.epoch if self.champion else 0,
                        slot=next(slot for slot in SLOTS if slot != stable), stable_slot=stable, started_at="now",
                    )
                )  # fmt: skip
                self.enforce(found)
            if found.state == "starting":
                verdict = Verdict(decision=Decision.PROMOTE if ready else Decision.ROLL_BACK, reason="at the start")
                judged = machine.judged(replace(found, state="started"), verdict, "now")
                self.finished(self.save(replace(judged, advanced=False)))

    @rule(
        crash=CRASHES,
        step=st.sampled_from(["shadow", "5", "50", "100", "bake", "37"]),
        said=st.sampled_from([Decision.PROMOTE, Decision.PROMOTE, Decision.HOLD, Decision.ROLL_BACK]),
    )
    def look(self, crash: int, step: str, said: Decision) -> None:
        self.left = crash
        with suppress(Killed, TidemillError):
            found = self.resumed()
            if found is None or found.state == "starting" or not found.under_way:
                return
            if machine.passed(found, step, self.policy):
                return
            entered = machine.enter(found, step, self.policy)
            if entered != found:
                self.save(entered)
            self.enforce(entered)
            self.finished(self.save(machine.judged(entered, Verdict(decision=said, reason="so"), "now")))

    @rule(crash=CRASHES)
    def walk_to_the_end(self, crash: int) -> None:
        """A release that is good at every step, and its promotion: seldom met by chance."""
        self.start(4, ready=True)
        for step in machine.steps_of(self.document, self.policy) if self.document else ():
            self.look(4, step, Decision.PROMOTE)
        self.promote(crash, Decision.PROMOTE)

    @rule(crash=CRASHES, said=st.sampled_from([Decision.PROMOTE, Decision.HOLD, Decision.ROLL_BACK]))
    def promote(self, crash: int, said: Decision) -> None:
        self.left = crash
        with suppress(Killed, TidemillError):
            found = self.resumed()
            if found is None or not found.under_way:
                return
            machine.refuse_early(found, self.policy)
            mine = self.champion is not None and self.champion.release == found.release
            if not mine:
                found = machine.judged(found, Verdict(decision=said, reason="so"), "now", machine.PROMOTION)
                self.save(found)
                if said is not Decision.PROMOTE:
                    self.finished(found)
                    return
                if (self.champion.epoch if self.champion else 0) != found.epoch_seen:
                    self.finished(self.save(machine.ended(found, "rolled_back", "stale")))
                    return
                self.write()
                self.history.append(Champion(found.epoch_seen + 1, found.release, found.slot))
            won = self.save(replace(found, state="promoted", epoch=found.epoch_seen + 1))
            self.enforce(won)

    @rule(crash=CRASHES)
    def abort(self, crash: int) -> None:
        self.left = crash
        with suppress(Killed):
            found = self.resumed()
            if found and found.under_way and self.champion and self.champion.release == found.release:
                self.enforce(self.save(replace(found, state="promoted", epoch=self.champion.epoch)))
            elif found and found.under_way:
                self.finished(self.save(machine.ended(found, "aborted", "by hand")))

    @invariant()
    def weights_sum_to_100(self) -> None:
        assert sum(self.routes.weights.values()) == 100
        assert min(self.routes.weights.values()) >= 0

    @invariant()
    def there_is_one_champion_and_its_epochs_are_a_line(self) -> None:
        assert [one.epoch for one in self.history] == list(range(1, len(self.history) + 1))

    @invariant()
    def whoever_comes_next_finds_the_champion_or_a_walk(self) -> None:
        """Recovery, tried on a copy: the routes are those of the document, and nobody is mirrored without a reason."""
        kept = (self.document, self.routes, self.left)
        self.left = 4
        rollout = self.resumed()
        if rollout and self.champion and not rollout.under_way:
            assert self.routes.weights[self.champion.slot] == 100
            assert self.routes.shadow is None
        if rollout and rollout.under_way and self.routes.shadow:
            assert self.routes.weights[self.routes.shadow] == 0
        self.document, self.routes, self.left = kept


World.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
TestWorld = World.TestCase
