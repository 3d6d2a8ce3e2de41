"""replay: compute every vector that was served on a batch once more from the lake, and say what is not identical."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from jobs.batch import Batches
from jobs.errors import NothingToDo
from jobs.features import dependencies
from jobs.features.live import running
from jobs.features.replay import before, causes, compare, evidence, known, log, outcome, truth
from jobs.lake import Lake
from jobs.monitoring.replay import Inputs, Replays
from jobs.monitoring.report import REPORT, RESULT, Day, summarise, write_index
from jobs.pages import page
from jobs.release.bundle import contract_of
from jobs.release.checks import Check, state_of
from jobs.release.ledger import Ledger
from jobs.result import Result
from jobs.rollout.verdict import REPLAY, Verdict, conclude
from jobs.settings import Settings
from jobs.spec import Project
from jobs.storage import current, digest_code, digest_of, publish, write_atomically

_CODE = (before, causes, compare, dependencies, evidence, known, log, outcome, running, truth)


def run(
    project: Project, settings: Settings, *, batches: Batches, release: str | None = None, force: bool = False
) -> Result:
    """Each batch's shares and causes, published with a page; exit 99 when nothing was served, 1 when one is skewed.

    With `release` only what that release served, which is printed and not published.
    """
    lake = Lake(settings.lake_uri)
    if release is not None:
        replays = Replays(project, lake, list(batches), release)
        return _judged(summarise("replay", batches, lambda batch: _shown(replays, batch)))
    with Ledger(settings.need("database_url")) as ledger:
        stage = _Stage(project, lake, ledger, force)
        stage.replays = Replays(project, lake, [batch for batch in batches if stage.is_due(batch)])
        result = summarise("replay", batches, stage.one)
    write_index(lake, project)
    return _judged(result)


@dataclass
class _Stage:
    project: Project
    lake: Lake
    ledger: Ledger
    force: bool

    def __post_init__(self) -> None:
        self.replays = Replays(self.project, self.lake)
        self.code = digest_code(*_CODE)
        self.contract = digest_of([contract_of(self.project), repr(self.project.replay)])

    def is_due(self, batch: date) -> bool:
        """Whether what is published of the batch was made from something else than there is now."""
        inputs = self.replays.inputs(batch)
        if inputs is None:
            return False
        published = current(self.lake.monitoring(self.project.name, "replay", batch))
        return self.force or published is None or dict(published.manifest.inputs) != self._digests(inputs)

    def one(self, batch: date) -> Day:
        """The batch's replay, published."""
        inputs = self.replays.inputs(batch)
        if inputs is None:
            return _nothing(batch)
        facts: dict[str, Any] = {}

        def write(folder: Path) -> int:
            found = _outcome(self.replays, batch)
            if found is None:
                raise NothingToDo
            html = page("replay.html.j2", project=self.project, result=found, causes=causes.CAUSES)
            write_atomically(folder / REPORT, html.encode())
            write_atomically(folder / RESULT, json.dumps(found, indent=1, allow_nan=False).encode())
            facts.update(_facts(found))
            return int(found["vectors"])

        try:
            published = publish(
                self.lake.monitoring(self.project.name, "replay", batch),
                write,
                inputs=self._digests(inputs),
                watermark=inputs.watermark,
                facts=facts,
                force=self.force,
            )
        except NothingToDo:
            return _nothing(batch)
        facts = dict(published.manifest.facts)
        verdict = _verdict(facts, self.project)
        kept = {name: facts[name] for name in ("vectors", "identical", "share", "causes")} | verdict.document()
        self.ledger.record_verdict(self.project.name, "replay", str(batch), verdict.decision, kept)
        return Day(line=facts["says"], facts={**facts, "report": published.address(REPORT)})

    def _digests(self, inputs: Inputs) -> dict[str, str]:
        return {**inputs.digests, "definitions": self.contract, "code": self.code}


def _verdict(facts: dict[str, Any], project: Project) -> Verdict:
    check = Check(
        name="replayed", value=facts["share"], bound=project.replay.minimum_identical,
        state=state_of(facts["verdict"] == outcome.HOLDS), detail=facts["reason"], rule="value >= bound",
        samples={"vectors": facts["vectors"]},
    )  # fmt: skip
    return conclude([check], REPLAY)


def _shown(replays: Replays, batch: date) -> Day:
    found = _outcome(replays, batch) if replays.inputs(batch) else None
    return (
        _nothing(batch) if found is None else Day(line=_says(found), facts={**_facts(found), "inputs": found["inputs"]})
    )


def _outcome(replays: Replays, batch: date) -> dict[str, Any] | None:
    with tempfile.TemporaryDirectory(prefix="tidemill-replay-") as scratch:
        replayed = replays.of(batch, Path(scratch))
    if replayed is None:
        return None
    return {"batch": str(batch), **outcome.outcome(replayed, replays.project.replay.minimum_identical)}


def _facts(found: dict[str, Any]) -> dict[str, Any]:
    names = ("verdict", "reason", "vectors", "identical", "share", "causes", "never_delivered")
    return {**{name: found[name] for name in names}, "says": _says(found)}


def _says(found: dict[str, Any]) -> str:
    return f"{found['verdict']}: {found['reason']}"


def _nothing(batch: date) -> Day:
    return Day(reason=f"no prediction of an event of {batch} has been ingested")


def _judged(result: Result) -> Result:
    """A skewed day is a finding: the task fails, so that a person looks."""
    days = result.facts.get("days", {"": result.facts}).values()
    return replace(result, exit_code=1) if any(day.get("verdict") == outcome.SKEWED for day in days) else result
