"""experiment: compare a release with the champion on matured labels, in halves of the entities or in one list."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jobs.errors import TidemillError, UsageError
from jobs.experiment import picture, reading
from jobs.experiment.arms import Sources
from jobs.experiment.comparison import Comparison, Known, Read
from jobs.experiment.halves import Halves
from jobs.experiment.interleaved import Interleaved
from jobs.lake import Lake
from jobs.monitoring.report import REPORT, RESULT
from jobs.pages import inline, page
from jobs.release.ledger import Ledger
from jobs.result import Result
from jobs.rollout.control import Controller
from jobs.rollout.machine import Rollout, policy_of
from jobs.rollout.verdict import Decision
from jobs.rollout.watch import seconds_since
from jobs.settings import Settings
from jobs.spec import HALF, Interleaving, Project
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
    known: Known | None = None,
    reason: str = "by hand",
) -> Result:
    """What plan, start, read or stop came to: exit 0 done or decided, 1 rolled back, 99 undecided or nothing to do.

    Raises UsageError when the project declares no experiment.
    """
    compared: Comparison
    match project.experiment:
        case None:
            raise UsageError(
                f"project {project.name!r} declares no experiment; nothing was changed. Give its Project an "
                "`experiment=Experiment(primary=…, minimum_effect=…)`, or of a ranking an "
                "`experiment=Interleaving(minimum_effect=…)`, in its spec.py"
            )
        case Interleaving() as policy:
            compared = Interleaved(project=project, policy=policy)
        case policy:
            compared = Halves(project=project, policy=policy)
    if action == "plan" and known:
        return compared.plan(known, None, None, effect)
    with Ledger(settings.need("database_url")) as ledger:
        study = _Study(project=project, compared=compared, settings=settings, ledger=ledger)
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
    compared: Comparison
    settings: Settings
    ledger: Ledger

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake_uri)

    def plan(self, effect: float | None) -> Result:
        return self.compared.plan(None, Sources.of(self.lake, self.project), self._champion, effect)

    @property
    def _champion(self) -> str | None:
        champion = self.ledger.champion(self.project.name)
        return champion.release if champion else None

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
            size = self.compared.planned(Sources.of(self.lake, self.project), self._champion)
            said = f"{size['planned']} planned" if size else "too little is known to plan it"
            document: dict[str, Any] = {
                "verdict": Decision.HOLD.value, "rule": "", "checks": [], "reason": f"experiment started; {said}",
                "design": size, "planned": size["planned"] if size else reading.PLANNED,
                "policy": repr(self.project.experiment),
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

    def _read(self, rollout: Rollout, planned: int | None) -> dict[str, Any]:
        """The reading of what is ingested and labelled by now, published with its page and recorded."""
        champion = self._champion
        if champion is None:
            raise TidemillError(f"project {self.project.name!r} has no champion to compare with; nothing was read")
        sources, waited = Sources.of(self.lake, self.project), seconds_since(rollout.step_started_at)
        found = self.compared.read(sources, rollout, champion, planned, waited)
        document = {
            **found.verdict.document(), "release": rollout.release, "stable": champion,
            "since": self.compared.since(rollout).isoformat(), **found.facts,
        }  # fmt: skip
        published = publish(
            self.lake.experiment(self.project.name, rollout.release),
            lambda folder: self._write(folder, document, found),
            inputs={
                **sources.digests, "document": digest_of(json.loads(json.dumps(document))),
                "code": digest_code(*self.compared.code),
            },
            watermark=sources.watermark,
        )  # fmt: skip
        document["report"] = published.address(REPORT)
        self.ledger.record_verdict(self.project.name, KIND, rollout.release, found.verdict.decision, document)
        return document

    def _write(self, folder: Path, document: dict[str, Any], found: Read) -> int:
        drawn = None
        if any(one["value"] is not None for one in found.curve):
            with tempfile.TemporaryDirectory() as scratch:
                path = Path(scratch) / "interval.png"
                picture.interval(path, found.curve, found.page["measured"], found.page["least"])
                drawn = inline(path)
        html = page(
            "experiment.html.j2", project=self.project, result=document, picture=drawn,
            delay=self.project.label.delay_days, **found.page,
        )  # fmt: skip
        write_atomically(folder / REPORT, html.encode())
        text = json.dumps({**document, "curve": found.curve}, indent=1, default=str)
        write_atomically(folder / RESULT, text.encode())
        return found.rows


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
