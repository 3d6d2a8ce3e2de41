"""experiment: compare a release with the champion on matured labels, half of the entities each."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jobs.errors import TidemillError, UsageError
from jobs.experiment import design as designing
from jobs.experiment import measures, picture, reading
from jobs.experiment.arms import Sources, arms, baseline
from jobs.experiment.design import Baseline, Design
from jobs.experiment.reading import Arms
from jobs.lake import Lake
from jobs.monitoring.labels import read_labels
from jobs.monitoring.report import REPORT, RESULT
from jobs.pages import inline, page
from jobs.release.ledger import Ledger
from jobs.result import Result
from jobs.rollout.control import Controller
from jobs.rollout.machine import Rollout, policy_of
from jobs.rollout.verdict import Decision, Verdict
from jobs.rollout.watch import seconds_since
from jobs.settings import Settings
from jobs.spec import HALF, Experiment, Project
from jobs.storage import digest_code, digest_of, publish, write_atomically

KIND = "experiment"
ENDED = (Decision.PROMOTE.value, Decision.ROLL_BACK.value)


def run(
    project: Project,
    settings: Settings,
    *,
    action: str,
    release: str | None = None,
    effect: float | None = None,
    known: Baseline | None = None,
    reason: str = "by hand",
) -> Result:
    """What plan, start, read or stop came to: exit 0 done or decided, 1 rolled back, 99 undecided or nothing to do.

    Raises UsageError when the project declares no experiment.
    """
    if project.experiment is None:
        raise UsageError(
            f"project {project.name!r} declares no experiment; nothing was changed. Give its Project an "
            "`experiment=Experiment(primary=…, minimum_effect=…)` in its spec.py"
        )
    if action == "plan" and known:
        return _plan(project, project.experiment, known, effect)
    with Ledger(settings.need("database_url")) as ledger:
        study = _Study(project=project, policy=project.experiment, settings=settings, ledger=ledger)
        match action:
            case "plan":
                return study.plan(effect)
            case "start":
                return study.start(release)
            case "read":
                return study.read()
            case "stop":
                return study.stop(reason)
            case _:
                raise UsageError(f"experiment has no action {action!r}")


@dataclass(frozen=True, kw_only=True)
class _Study:
    """One project's experiment, its ledger and its lake."""

    project: Project
    policy: Experiment
    settings: Settings
    ledger: Ledger

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake_uri)

    def plan(self, effect: float | None) -> Result:
        found = self._baseline()
        if found is None:
            raise UsageError(
                f"project {self.project.name!r} has no matured label of its champion to plan with; run `tidemill labels`, "
                "or give --baseline, --variance and --per-day"
            )
        return _plan(self.project, self.policy, found, effect)

    def start(self, release: str | None) -> Result:
        rollout = Controller(self.project, self.settings, self.ledger).start(release, None, "ab")
        if policy_of(rollout, self.project.canary).policy != "ab":
            raise TidemillError(
                f"release {rollout.release} is being rolled out as {self.project.canary.policy}; no experiment was "
                "started. Let that walk end, or end it with `tidemill rollout abort`"
            )
        if not rollout.under_way:
            line = f"experiment: {rollout.release} was rolled back at its start: {rollout.reason}"
            return Result(line=line, facts={**_facts(rollout), "verdict": Decision.ROLL_BACK.value}, exit_code=1)
        if self._newest(rollout) is None:
            size = self._planned()
            said = f"{size.labels} labels planned" if size else "too little is known to plan it"
            document: dict[str, Any] = {
                "verdict": Decision.HOLD.value, "rule": "", "checks": [], "reason": f"experiment started; {said}",
                "design": size.document() if size else None, "planned": size.labels if size else reading.PLANNED,
                "policy": repr(self.policy),
            }  # fmt: skip
            self.ledger.record_verdict(self.project.name, KIND, rollout.release, Decision.HOLD, document)
        recorded = self._newest(rollout) or {}
        line = (
            f"experiment: {rollout.release} is in slot {rollout.slot}, at {rollout.percent} %: {recorded['reason']}; "
            f"it stops at {HALF} % until it is decided. Walk it there by the rollout's DAG, or by "
            "`tidemill rollout shadow` and `tidemill rollout step`"
        )
        return Result(line=line, facts={**_facts(rollout), **recorded})

    def read(self) -> Result:
        found = self._present()
        before = self._newest(found) if found else None
        if found is None:
            return _nothing(f"no experiment is under way in project {self.project.name!r}; `start` begins one")
        if before and before["verdict"] in ENDED:
            return _told(before, found)
        half = found.percent == HALF and found.step_started_at is not None
        if not found.under_way or not half:
            said = "is on its way to half of the traffic" if found.under_way else f"is {found.state}, undecided"
            return _nothing(f"release {found.release} {said} ({found.percent} %)", _facts(found))
        return _told(self._read(found, (before or {}).get("planned")), found)

    def stop(self, reason: str) -> Result:
        found = self._present()
        if found is None or not found.under_way:
            return _nothing(f"no experiment is under way in project {self.project.name!r}")
        document = self._newest(found) or {}
        controller = Controller(self.project, self.settings, self.ledger)
        if document.get("verdict") != Decision.PROMOTE.value:
            why = document.get("reason") or "it was never read"
            rollout, _ = controller.abort(f"experiment stopped {reason}: {why}")
            line = (
                f"experiment: {rollout.release} is {rollout.state}, {rollout.reason}; all traffic is with the champion"
            )
            return Result(line=line, facts={**document, **_facts(rollout)}, exit_code=1)
        rollout, verdict = controller.step(str(HALF)) if found.percent <= HALF else (found, None)
        said = "goes on to all of the traffic: `tidemill rollout step --percent 100`, then bake and promote"
        if verdict and verdict.decision is not Decision.PROMOTE:
            said = f"may not go on: {verdict.reason}"
        facts = {**document, **_facts(rollout)} | ({"verdict": verdict.decision.value} if verdict else {})
        codes = {Decision.HOLD: 99, Decision.ROLL_BACK: 1}
        line = f"experiment: {rollout.release} won ({document['reason']}) and {said}"
        return Result(line=line, facts=facts, exit_code=codes.get(verdict.decision, 0) if verdict else 0)

    def _present(self) -> Rollout | None:
        """The newest rollout, if it is an experiment."""
        found = self.ledger.rollout(self.project.name)
        rollout = Rollout.load(found[1]) if found else None
        mine = rollout is not None and policy_of(rollout, self.project.canary).policy == "ab" and not rollout.first
        return rollout if mine else None

    def _newest(self, rollout: Rollout) -> dict[str, Any] | None:
        """What was recorded last about this very rollout."""
        began = datetime.fromisoformat(rollout.started_at)
        for one in self.ledger.verdicts(self.project.name, KIND):
            if one.subject == rollout.release and one.at >= began:
                return dict(one.document)
        return None

    def _baseline(self) -> Baseline | None:
        champion, labels = self.ledger.champion(self.project.name), Sources.of(self.lake, self.project).labels
        if champion is None or not labels:
            return None
        found = baseline(self.project, read_labels(labels[-1:]), champion.release, self.policy.primary)
        return found if found.per_day else None

    def _planned(self) -> Design | None:
        found = self._baseline()
        try:
            return designing.design(self.policy, found, self.project.label.delay_days) if found else None
        except ValueError:
            return None

    def _read(self, rollout: Rollout, planned: int | None) -> dict[str, Any]:
        """The reading of what is ingested and labelled by now, published with its page and recorded."""
        champion = self.ledger.champion(self.project.name)
        if champion is None:
            raise TidemillError(f"project {self.project.name!r} has no champion to compare with; nothing was read")
        since, sources = datetime.fromisoformat(str(rollout.step_started_at)), Sources.of(self.lake, self.project)
        waited, planned = seconds_since(rollout.step_started_at), planned or reading.PLANNED
        found = arms(self.project, sources, candidate=rollout.release, stable=champion.release, since=since)
        verdict = reading.judge(self.policy, found, planned=planned, waited=waited)
        document = {
            **verdict.document(), "release": rollout.release, "stable": champion.release, "since": since.isoformat(),
            "planned": planned, "requests": found.assignment.requests,
            "labels": len(found.candidate) + len(found.stable), "metrics": _metrics(self.policy, found),
        }  # fmt: skip
        code = digest_code(reading, measures, picture)
        published = publish(
            self.lake.experiment(self.project.name, rollout.release),
            lambda folder: self._write(folder, document, found, verdict, planned),
            inputs={**sources.digests, "document": digest_of(json.loads(json.dumps(document))), "code": code},
            watermark=sources.watermark,
        )
        document["report"] = published.address(REPORT)
        self.ledger.record_verdict(self.project.name, KIND, rollout.release, verdict.decision, document)
        return document

    def _write(self, folder: Path, document: dict[str, Any], found: Arms, verdict: Verdict, planned: int) -> int:
        curve = reading.curve(self.policy, found, planned)
        drawn = None
        if any(one["value"] is not None for one in curve):
            with tempfile.TemporaryDirectory() as scratch:
                path = Path(scratch) / "interval.png"
                picture.interval(path, curve, self.policy.primary.name, self.policy.minimum_effect)
                drawn = inline(path)
        kinds = {self.policy.primary.name: "primary"}
        kinds |= {one.name: "guardrail" for one in self.policy.guardrails}
        kinds |= {one.name: "secondary" for one in self.policy.secondary}
        html = page(
            "experiment.html.j2", project=self.project, policy=self.policy, result=document, picture=drawn, kinds=kinds,
            delay=self.project.label.delay_days, alpha=reading.share_of_alpha(self.policy),
        )  # fmt: skip
        write_atomically(folder / REPORT, html.encode())
        text = json.dumps({**document, "curve": curve}, indent=1, default=str)
        write_atomically(folder / RESULT, text.encode())
        return len(found.candidate) + len(found.stable)


def _plan(project: Project, policy: Experiment, found: Baseline, effect: float | None) -> Result:
    delay, name, most = project.label.delay_days, policy.primary.name, policy.maximum_days
    try:
        one = designing.design(policy, found, delay, effect)
    except ValueError as error:
        raise UsageError(f"{error}; give --baseline, --variance and --per-day, or another --effect") from None
    others = [designing.design(policy, found, delay, factor * one.effect) for factor in (0.5, 2.0)]
    least, fits = designing.detectable(policy, found, delay), one.days <= most
    line = (
        f"experiment plan: {name} {found.mean:.4g}; to find {one.effect:g} better with power {policy.power:g} and "
        f"alpha {policy.alpha:g}: {one.labels} labels ({one.labels_fixed} with a single look at the end, "
        f"{one.price:.2f} times as many for looking at any time), {one.days} days at {found.per_day:.0f} a day, "
        f"{delay} of them until the last label is known"
    )
    if not fits:
        line += f". Too long for {most} days, in which {least:.3g} can be found"
    facts = {
        **one.document(), "fits": fits, "maximum_days": most, "detectable": least, "baseline": vars(found),
        "alternatives": [other.document() for other in others],
    }  # fmt: skip
    return Result(line=line, facts=facts)


def _metrics(policy: Experiment, found: Arms) -> dict[str, Any]:
    """Each metric's mean on either side, None where it is undefined, and its events."""
    told: dict[str, Any] = {}
    for metric in (policy.primary, *policy.guardrails, *policy.secondary):
        sides = [measures.sample(metric, one) for one in (found.candidate, found.stable)]
        means = [side.mean if side.count else None for side in sides]
        told[metric.name] = {"candidate": means[0], "stable": means[1], "events": [side.count for side in sides]}
    return told


def _told(document: dict[str, Any], rollout: Rollout) -> Result:
    verdict = str(document["verdict"])
    rule = f" [{document['rule']}]" if document["rule"] else ""
    where = f" (report: {document['report']})" if "report" in document else ""
    line = f"experiment: {verdict}{rule} {rollout.release} {document['reason']}{where}"
    codes = {Decision.PROMOTE.value: 0, Decision.ROLL_BACK.value: 1}
    return Result(line=line, facts={**_facts(rollout), **document}, exit_code=codes.get(verdict, 99))


def _nothing(said: str, facts: dict[str, Any] | None = None) -> Result:
    return Result(line=f"experiment: {said}", facts={**(facts or {}), "verdict": None, "reason": said}, exit_code=99)


def _facts(rollout: Rollout) -> dict[str, Any]:
    return {
        "release": rollout.release, "state": rollout.state, "step": rollout.step, "percent": rollout.percent,
        "slot": rollout.slot, "stable_slot": rollout.stable_slot, "started_at": rollout.started_at,
    }  # fmt: skip
