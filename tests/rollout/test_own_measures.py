"""What a slot says of itself, memory and scores, on its way into a verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobs.errors import SpecError
from jobs.projects.fraud.spec import FRAUD
from jobs.rollout.measure import observed
from jobs.rollout.observed import Observed
from jobs.rollout.steps import decide
from jobs.rollout.verdict import Decision
from jobs.spec import Canary

POLICY = Canary(maximum_growth_megabytes=100, maximum_score_distance=0.2, entities=1)
SCORES = ((0.5, 3_000.0), (1.0, 1_000.0))


def seen(**changes: object) -> Observed:
    values = {
        "requests": 4_000,
        "errors": 0,
        "latency": [(5.0, 4_000)],
        "scores": SCORES,
        "grown_bytes": 5e6,
        **changes,
    }
    return Observed(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("candidate", "decision", "rule"),
    [
        (seen(), Decision.PROMOTE, ""),
        (seen(grown_bytes=-5e6), Decision.PROMOTE, ""),
        (seen(grown_bytes=101e6), Decision.ROLL_BACK, "memory"),
        (seen(grown_bytes=None), Decision.HOLD, "memory"),
        (seen(scores=((0.5, 1_000.0), (1.0, 3_000.0))), Decision.ROLL_BACK, "scores"),
        (seen(scores=()), Decision.HOLD, "scores"),
    ],
)
def test_memory_and_scores_beyond_their_limits_roll_back_and_unknown_ones_hold(
    candidate: Observed, decision: Decision, rule: str
) -> None:
    verdict = decide(50, candidate, seen(), 900, POLICY)
    assert (verdict.decision, verdict.rule) == (decision, rule)


def test_what_a_slot_counted_before_the_step_is_not_counted_again() -> None:
    def counted(many: float, resident: float | None) -> dict[str, dict[str, object]]:
        return {
            "green": {
                "attempts": many, "errors": 0, "latency": [[5.0, many]], "own": [], "scores": [[0.5, many], [1.0, 2 * many]],
                "resident_bytes": resident,
            }
        }  # fmt: skip

    found = observed(counted(100, 50e6), counted(300, 80e6), "green")
    assert (found.requests, found.scores, found.grown_bytes) == (200, ((0.5, 200.0), (1.0, 400.0)), 30e6)
    assert observed(counted(100, None), counted(300, 80e6), "green").grown_bytes is None


def test_a_limit_on_memory_that_allows_nothing_is_refused_when_declared() -> None:
    with pytest.raises(SpecError, match="maximum_growth_megabytes"):
        replace(FRAUD, canary=replace(FRAUD.canary, maximum_growth_megabytes=0))
