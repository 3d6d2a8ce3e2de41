"""approval: show a person what the gate saw, and keep their answer."""

from __future__ import annotations

import json
from typing import Any

from jobs import mirror
from jobs.errors import GateRejected, UsageError
from jobs.lake import Lake, address
from jobs.pages import inline, page
from jobs.release.approval import KIND, NOTED, answered, form
from jobs.release.ledger import Ledger
from jobs.result import Result
from jobs.rollout.verdict import Decision
from jobs.settings import Settings
from jobs.spec import Approval, Project
from jobs.stages.evaluate import read_evaluation
from jobs.storage import Published, require, verify
from jobs.training.candidates import read_training
from jobs.training.card import card, shortened

PAGE = "approval.html"


def run(
    project: Project, settings: Settings, *, run: str, action: str, answer: str = "", by: str = "", note: str = ""
) -> Result:
    """The form to decide by (`show`), or the recorded answer (`answer`); neither registers anything.

    Raises UsageError without an approval in the declaration, GateRejected when the gate said no, and MissingBatchError
    before it said anything.
    """
    policy = project.approval
    if policy is None:
        raise UsageError(
            f"project {project.name!r} asks nobody: its spec.py declares no approval; nothing was recorded"
        )
    folder, again = Lake(settings.lake_uri).run(project.name, run), f"--project {project.name} --run {run}"
    evaluation = require(folder / "evaluation", f"tidemill evaluate {again}")
    verdict = require(folder / "verdict", f"tidemill gate {again}")
    for published in (evaluation, verdict):
        verify(published)
    document: dict[str, Any] = json.loads((verdict.folder / "verdict.json").read_bytes())
    if document["verdict"] != Decision.PROMOTE.value or document["evaluation"] != evaluation.digest:
        raise GateRejected(f"run {run} did not pass the gate; nobody is asked. See `tidemill gate {again}`")
    if action == "show":
        return _shown(project, policy, settings, run, document, evaluation)
    if answer not in ("approve", "reject"):
        raise UsageError(f"answer {answer[:80]!r} is not approve or reject; nothing was recorded")
    if answer == "approve" and not by.strip():
        raise UsageError("an approval needs --by, the name of who gives it; nothing was recorded")
    found = answered(policy, approved=answer == "approve", by=by.strip(), note=note.strip())
    kept = {**found.document(), "evaluation": evaluation.digest, "by": by.strip()[:NOTED], "note": note.strip()[:NOTED]}
    with Ledger(settings.need("database_url")) as ledger:
        ledger.record_verdict(project.name, KIND, run, found.decision, kept)
    return Result(line=f"{run}: {found.decision.value}, {found.reason}", facts={"run": run, **kept})


def require_approval(project: Project, ledger: Ledger, run: str, evaluation: str) -> None:
    """Raises GateRejected unless the project asks nobody, or somebody agreed to this very evaluation of the run."""
    if project.approval is None:
        return
    newest = next((one for one in ledger.verdicts(project.name, KIND, limit=1_000) if one.subject == run), None)
    agreed = newest is not None and newest.verdict == Decision.PROMOTE.value
    if agreed and newest is not None and newest.document.get("evaluation") == evaluation:
        return
    said = str(newest.document.get("reason")) if newest else "nobody has answered yet"
    if agreed:
        said = "what was approved is another evaluation"
    raise GateRejected(
        f"run {run} was not registered: {said}. Look at it with `tidemill approval show --project {project.name} "
        f"--run {run}`, and answer with `tidemill approval answer`"
    )


def _shown(
    project: Project, policy: Approval, settings: Settings, run: str, document: dict[str, Any], evaluation: Published
) -> Result:
    folder, found = Lake(settings.lake_uri).run(project.name, run), read_evaluation(evaluation)
    cards = {}
    for model in project.models:
        picked = found["models"][model.name]["picked"]
        again = f"tidemill train --project {project.name} --run {run}"
        candidate = require(folder / "candidates" / model.name / picked, again)
        cards[model.name] = card(project, model, found, read_training(candidate))
    plots = [(path.stem.replace("-", ": "), inline(path)) for path in sorted(evaluation.folder.glob("*.png"))]
    path = folder / PAGE
    html = page("approval.html.j2", project=project, policy=policy, document=document, cards=cards, plots=plots)
    mirror.write(path, html.encode())
    brief, place = {name: shortened(text) for name, text in cards.items()}, address(path)
    body = form(project, policy, document, brief, place)
    subject = f"{project.title}: may run {run} be registered?"
    return Result(line=f"{subject}\n\n{body}", facts={"run": run, "subject": subject, "body": body, "page": place})
