"""From checks to a decision: one engine for gate, shadow, canary, A/B test, replay, drift and performance; pure.

It fails closed. A failed check decides whatever the others say; an undecided one holds, and at the deadline counts
as failed where traffic is at stake. Only checks that all passed promote, and no check at all is no evidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from jobs.release.checks import Check, State

LONGEST_WAIT = 60.0
"""Seconds between two looks at most: a failing candidate is noticed within a minute."""


class Decision(StrEnum):
    """What is done; a step that may go on is PROMOTE."""

    PROMOTE = "PROMOTE"
    HOLD = "HOLD"
    ROLL_BACK = "ROLL BACK"
    RETRAIN = "RETRAIN"
    REJECT = "REJECT"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What the states of its checks mean to a stage."""

    name: str
    passed: Decision
    """When every check passed."""
    failed: Decision
    """When one failed."""
    undecided: Decision
    """When none failed and one is undecided."""
    late: Decision
    """The same, at the deadline."""


def _walk(name: str) -> Stage:
    return Stage(
        name=name, passed=Decision.PROMOTE, failed=Decision.ROLL_BACK, undecided=Decision.HOLD, late=Decision.ROLL_BACK
    )


def _watch(name: str, failed: Decision) -> Stage:
    return Stage(name=name, passed=Decision.HOLD, failed=failed, undecided=Decision.HOLD, late=Decision.HOLD)


GATE = Stage(
    name="gate",
    passed=Decision.PROMOTE,
    failed=Decision.REJECT,
    undecided=Decision.REJECT,
    late=Decision.REJECT,
)
START, SHADOW, CANARY, AB_TEST = _walk("start"), _walk("shadow"), _walk("canary"), _walk("A/B test")
PROMOTION = _walk("promotion")
"""Whether what a release with all the traffic has served is what the lake says."""
DRIFT, PERFORMANCE = _watch("drift", Decision.RETRAIN), _watch("performance", Decision.RETRAIN)
REPLAY = _watch("replay", Decision.REJECT)
"""Whether what was served on a day is what the lake says: a training mends nothing of it, a person has to look."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The decision, the sentence that says why, and every number it was made on."""

    decision: Decision
    reason: str
    rule: str = ""
    """The name of the check that decided; empty when all passed."""
    checks: tuple[Check, ...] = ()
    wait_seconds: int = 0
    """On HOLD of something that waits: when to ask again."""

    def document(self) -> dict[str, Any]:
        """The verdict as ledger, report, task log and command line show it."""
        return {
            "verdict": self.decision.value,
            "rule": self.rule,
            "reason": self.reason,
            "checks": [check.document() for check in self.checks],
        }


def conclude(
    checks: Sequence[Check],
    stage: Stage,
    *,
    waited: float = 0.0,
    deadline: float = math.inf,
    again: float = 0.0,
    where: str = "",
    because: str = "",
) -> Verdict:
    """The verdict of a stage that has `waited` for so many seconds of its `deadline`; the checks' order is no matter.

    `again` is in how many seconds to look once more while there is time, 0 if nobody waits; `where` begins the reason,
    and `because` is the reason when all passed.

    >>> slow = Check(name="latency", state=State.UNDECIDED, detail="95 % within 12 ms")
    >>> conclude([slow], CANARY, waited=60, deadline=600, again=20).decision.value
    'HOLD'
    >>> conclude([slow], CANARY, waited=600, deadline=600).reason
    '95 % within 12 ms, at the deadline of 600 seconds'
    >>> conclude([], GATE).reason
    'there is nothing to decide on'
    """
    checks = tuple(checks) or (Check(name="evidence", state=State.UNDECIDED, detail="there is nothing to decide on"),)
    before = f"{where}: " if where else ""
    failed = [check for check in checks if check.state is State.FAILED]
    known = any(check.passed for check in checks)
    waiting = [check for check in checks if check.state is State.UNDECIDED and not (check.optional and known)]
    if failed:
        return Verdict(decision=stage.failed, reason=before + failed[0].detail, rule=failed[0].name, checks=checks)
    if not waiting:
        said = because or f"{sum(check.passed for check in checks)} checks passed"
        return Verdict(decision=stage.passed, reason=before + said, checks=checks)
    first, left = waiting[0], deadline - waited
    if left > 0:  # a wait that is no number is at its deadline
        wait = math.ceil(min(max(again, 1), left, LONGEST_WAIT)) if again else 0
        return Verdict(
            decision=stage.undecided, reason=before + first.detail, rule=first.name, checks=checks, wait_seconds=wait
        )
    late = f"{before}{first.detail}, at the deadline of {deadline:g} seconds"
    return Verdict(decision=stage.late, reason=late, rule=first.name, checks=checks)
