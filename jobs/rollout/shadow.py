"""A candidate's answers to mirrored requests beside those that the stable slot gave to the same ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from jobs import mirror
from jobs.lake import Lake
from jobs.release.checks import Check, State
from jobs.rollout import guards
from jobs.rollout.machine import Rollout
from jobs.rollout.observed import Observed
from jobs.rollout.records import SEGMENT, files, lines
from jobs.rollout.statistics import evidence_above
from jobs.rollout.steps import ALPHA, decide
from jobs.rollout.verdict import SHADOW, Verdict, conclude
from jobs.settings import Settings
from jobs.spec import PREDICTIONS, Canary, Project

COMPARED = 20_000
"""At most so many of the newest answers are compared: more would say the same and take longer."""
MIRRORED = 0.9
"""The share of the stable slot's requests that must have reached the shadow: it drops what it is too slow for."""
_EARLIER = timedelta(seconds=10)
"""A slot's file may have been begun so long before the first record that is looked for."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What the two slots answered to the same requests."""

    answers: int
    """How many were compared."""
    decisions: int
    """How many of them had another decision."""
    degraded: int
    """How many the shadow answered without features."""
    furthest: float
    """The greatest distance between the two scores."""
    mean: float
    """The mean distance."""


@dataclass(frozen=True, kw_only=True)
class _Answer:
    score: float
    decision: str
    degraded: bool


def compared(project: Project, settings: Settings, rollout: Rollout) -> Compared | None:
    """The candidate's newest answers in the shadow, by request id with the stable slot's; None before the step began."""
    if rollout.step_started_at is None or rollout.stable_slot is None:
        return None
    since = datetime.fromisoformat(rollout.step_started_at)
    lake, home = Lake(settings.lake_uri), settings.home / "serving" / project.name
    mirrored: dict[str, _Answer] = {}
    oldest = datetime.now(UTC)
    for path in _newest(
        [home / "shadow", *mirror.recent(lake.shadow(project.name, date.min).parent, since)], rollout.slot, since
    ):
        oldest = min(oldest, _begun(path))
        mirrored |= _answers(path, rollout.release)
        if len(mirrored) >= COMPARED:
            break
    landing = lake.landing(project.name, PREDICTIONS.name, date.min).parent
    from_then = max(since, oldest) - _EARLIER
    pairs: dict[str, tuple[_Answer, _Answer]] = {}
    for path in _newest([home / "log", *mirror.recent(landing, from_then)], rollout.stable_slot, from_then):
        for name, answer in _answers(path).items():
            if name in mirrored:
                pairs[name] = (mirrored[name], answer)
    distances = [abs(mine.score - theirs.score) for mine, theirs in pairs.values()]
    return Compared(
        answers=len(pairs),
        decisions=sum(mine.decision != theirs.decision for mine, theirs in pairs.values()),
        degraded=sum(mine.degraded for mine, _ in pairs.values()),
        furthest=max(distances, default=0.0),
        mean=sum(distances) / len(distances) if distances else 0.0,
    )


def judge(
    candidate: Observed, stable: Observed | None, answers: Compared | None, waited: float, policy: Canary
) -> Verdict:
    """The verdict on a shadow: errors, latency and life as at any step, and what it answered to the same requests.

    >>> good = Observed(requests=1_000, errors=0, latency=[(5.0, 1_000)], scores=[(1.0, 1_000)])
    >>> same = Compared(answers=900, decisions=0, degraded=0, furthest=0.1, mean=0.01)
    >>> judge(good, good, same, 600, Canary()).reason
    'in the shadow: 0 of 900 answers had another decision (scores 0.01 apart on average, 0.1 at most)'
    >>> judge(good, good, replace(same, decisions=500), 600, Canary()).decision.value
    'ROLL BACK'
    """
    watched = replace(policy, bake_seconds=policy.shadow_seconds, minimum_requests=policy.shadow_requests)
    guard = decide(0, candidate, stable, waited, watched)
    changed = _changed(answers, policy)
    checks = [*guard.checks, _reached(candidate, stable), _enough(answers, policy), changed]
    return conclude(
        checks, SHADOW, waited=waited, deadline=policy.deadline_seconds, again=max(policy.shadow_seconds / 4, 1),
        where="in the shadow", because=changed.detail,
    )  # fmt: skip


def passed_over(candidate: Observed) -> Verdict:
    """The verdict where nothing can be mirrored: the release goes on as it is, if it is still there.

    >>> passed_over(Observed(requests=None, errors=None)).reason
    'in the shadow: passed over, because a load balancer mirrors no request; the first share of traffic is the first look'
    """
    return conclude(
        [guards.alive(candidate)], SHADOW, where="in the shadow",
        because="passed over, because a load balancer mirrors no request; the first share of traffic is the first look",
    )  # fmt: skip


def _reached(candidate: Observed, stable: Observed | None) -> Check:
    mine, theirs = candidate.requests, stable.requests if stable else None
    share = mine / theirs if mine is not None and theirs else None
    state = State.PASSED if share is not None and share >= MIRRORED else State.UNDECIDED
    detail = "no request was mirrored" if share is None else f"{share:.3f} of the stable slot's requests were mirrored"
    return Check(name="mirrored", value=share, bound=MIRRORED, state=state, detail=detail, rule="value >= bound")


def _enough(answers: Compared | None, policy: Canary) -> Check:
    count = answers.answers if answers else 0
    good = count >= policy.shadow_requests
    return Check(
        name="compared", value=count, bound=policy.shadow_requests, rule="value >= bound",
        state=State.PASSED if good else State.UNDECIDED,
        detail=f"{count} of {policy.shadow_requests} answers compared with the stable slot's",
    )  # fmt: skip


def _changed(answers: Compared | None, policy: Canary) -> Check:
    limit = policy.maximum_decisions_changed
    if answers is None or not answers.answers:
        return Check(name="decisions", bound=limit, state=State.UNDECIDED, detail="no answer was compared yet")
    share = answers.decisions / answers.answers
    beyond = 0 < limit < 1 and evidence_above(answers.decisions, answers.answers, limit) >= 1 / ALPHA
    failed = share > limit and (beyond or not limit)
    state = State.FAILED if failed else State.PASSED if share <= limit else State.UNDECIDED
    detail = (
        f"{answers.decisions} of {answers.answers} answers had another decision (scores {answers.mean:.2g} apart on "
        f"average, {answers.furthest:.2g} at most)"
    )
    return Check(
        name="decisions", value=share, bound=limit, state=state, detail=detail, rule="value <= bound",
        samples={"compared": answers.answers, "degraded": answers.degraded},
    )  # fmt: skip


def _newest(folders: list[Path], slot: str, since: datetime) -> Iterator[Path]:
    """The slot's files that were begun since then, newest first."""
    named = [(SEGMENT.match(path.name), path) for path in files(folders)]
    mine = [(int(name[3]), path) for name, path in named if name and name[1] == slot]
    for begun, path in sorted(mine, reverse=True):
        if begun >= since.timestamp() * 1e9:
            yield path


def _begun(path: Path) -> datetime:
    name = SEGMENT.match(path.name)
    return datetime.fromtimestamp(int(name[3]) / 1e9, UTC) if name else datetime.now(UTC)


def _answers(path: Path, release: str | None = None) -> dict[str, _Answer]:
    """The answers in a file by request id; those of one release where it is given."""
    found = {}
    for line in lines(path).splitlines():
        record = json.loads(line)
        if release in (None, record["release"]):
            found[record["request_id"]] = _Answer(
                score=float(record["score"]), decision=record["decision"], degraded=bool(record["degraded"])
            )
    return found
