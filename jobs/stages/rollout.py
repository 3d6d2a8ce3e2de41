"""rollout: walk a release from no traffic to all of it, or back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from jobs.errors import NothingToDo, UsageError
from jobs.lake import address
from jobs.release.ledger import Ledger
from jobs.release.registry import reconcile, set_aliases
from jobs.result import Result
from jobs.rollout.control import Controller
from jobs.rollout.machine import Rollout, traffic
from jobs.rollout.slots import REHEARSALS
from jobs.rollout.verdict import Decision, Verdict
from jobs.services import evidence
from jobs.settings import Settings
from jobs.spec import PREDICTIONS, Project


def run(
    project: Project,
    settings: Settings,
    *,
    action: str,
    release: str | None = None,
    rehearse: str | None = None,
    percent: int = 0,
    reason: str = "by hand",
) -> Result:
    """What start, shadow, step, bake, promote, abort, reconcile or status came to: exit 0 done, 1 rolled back, 99 hold or nothing to do."""
    if rehearse not in (None, *REHEARSALS):
        raise UsageError(f"rehearse {rehearse[:80]!r} is none of {', '.join(REHEARSALS)}")
    with Ledger(settings.need("database_url")) as ledger:
        controller = Controller(project, settings, ledger)
        try:
            match action:
                case "start":
                    reconcile(settings, ledger, project.name)
                    result = _started(controller.start(release, rehearse))
                case "step":
                    result = _stepped(*controller.step(str(percent)))
                case "shadow" | "bake":
                    result = _stepped(*controller.step(action))
                case "promote":
                    result = _promoted(*controller.promote())
                case "abort":
                    result = _aborted(*controller.abort(reason))
                case "reconcile":
                    result = _reconciled(settings, project, ledger)
                case "status":
                    result = _status(controller)
                case _:
                    raise UsageError(f"rollout has no action {action!r}")
        except NothingToDo as nothing:
            return Result(line=f"rollout: {nothing}", facts={"state": None, "reason": str(nothing)}, exit_code=99)
        if (
            action in ("promote", "abort", "step", "shadow", "bake")
            and result.facts.get("verdict") != Decision.HOLD.value
        ):
            _project_aliases(settings, project, ledger, result)
    return result


def _started(rollout: Rollout) -> Result:
    if not rollout.under_way:
        return _back(rollout)
    of = f", rehearsing {rollout.rehearse}" if rollout.rehearse else ""
    line = f"rollout: release {rollout.release} is ready in slot {rollout.slot}{of}, {_share(rollout)}"
    return Result(line=line, facts=_facts(rollout))


def _stepped(rollout: Rollout, verdict: Verdict | None) -> Result:
    if rollout.state in ("rolled_back", "aborted"):
        return _back(rollout)
    if verdict is None:
        line = f"rollout: nothing to decide, release {rollout.release} is {rollout.state}, {_share(rollout)}"
        return Result(line=line, facts={**_facts(rollout), "verdict": Decision.PROMOTE.value, "wait_seconds": 0})
    facts = {**_facts(rollout), **verdict.document(), "wait_seconds": verdict.wait_seconds}
    wait = f"; ask again in {verdict.wait_seconds} s" if verdict.decision is Decision.HOLD else ""
    rule = f" [{verdict.rule}]" if verdict.rule else ""
    line = f"rollout: {verdict.decision.value}{rule} {rollout.release} {verdict.reason}{wait}"
    return Result(line=line, facts=facts, exit_code=99 if verdict.decision is Decision.HOLD else 0)


def _promoted(rollout: Rollout, verdict: Verdict | None) -> Result:
    if verdict and verdict.decision is Decision.HOLD:
        return _stepped(rollout, verdict)
    if rollout.state != "promoted":
        return _back(rollout)
    stable = f"; {rollout.stable_slot} stands by" if rollout.stable_slot else ""
    why = f" ({verdict.reason})" if verdict else ""
    line = (
        f"rollout: release {rollout.release} is champion in epoch {rollout.epoch}, in slot {rollout.slot}{stable}{why}"
    )
    return Result(line=line, facts=_facts(rollout))


def _aborted(rollout: Rollout, now: bool) -> Result:
    if not now:
        line = f"rollout: nothing to abort, release {rollout.release} is {rollout.state}"
        return Result(line=line, facts=_facts(rollout))
    to = f"slot {rollout.stable_slot}" if rollout.stable_slot else "nobody: there was no champion"
    line = f"rollout: aborted release {rollout.release} ({rollout.reason}); all traffic is with {to}"
    return Result(line=line, facts=_facts(rollout))


def _back(rollout: Rollout) -> Result:
    """The finding that a release is not on its way any more; what follows must stop."""
    said = rollout.state.replace("_", " ")
    to = f"slot {rollout.stable_slot}" if rollout.stable_slot else "nobody"
    line = f"rollout: {said} release {rollout.release}: {rollout.reason}; traffic is with {to}"
    return Result(line=line, facts={**_facts(rollout), "verdict": Decision.ROLL_BACK.value}, exit_code=1)


def _status(controller: Controller) -> Result:
    found = controller.present()
    champion = controller.ledger.champion(controller.project.name)
    challenger = controller.ledger.challenger(controller.project.name)
    facts: dict[str, Any] = {
        "state": None,
        "champion": {"release": champion.release, "epoch": champion.epoch} if champion else None,
        "challenger": challenger.release if challenger else None,
        "weights": controller.router.weights(controller.project.name),
    }
    if found is None:
        return Result(line="rollout: none yet", facts=facts)
    rollout = found[1]
    walked = ", ".join(f"{_step(one)} {one['verdict']}" for one in rollout.verdicts)
    replayed = [check for one in rollout.verdicts for check in one["checks"] if check["name"] == "replayed"]
    line = f"rollout: release {rollout.release} {rollout.state.replace('_', ' ')}, {_share(rollout)} ({walked or 'no verdict yet'})"
    if replayed:
        line += f"; replayed before promotion: {replayed[-1]['detail']}"
    verdicts = [{**one, "about": _step(one)} for one in rollout.verdicts]
    if rollout.state in ("rolled_back", "aborted"):
        line += "\nkept for diagnosis: " + ", ".join(
            f"{what} {where}" for what, where in _kept(controller, rollout).items()
        )
    if verdicts:
        line += "\n\n" + evidence.decisions(verdicts, "step") + "\n\n" + evidence.checks(verdicts[-1], "last verdict")
    last = {name: verdicts[-1].get(name) for name in ("verdict", "rule", "checks")} if verdicts else {}
    kept = _kept(controller, rollout) if rollout.state in ("rolled_back", "aborted") else {}
    shown = {**last, "kept": kept, "replayed": replayed[-1] if replayed else None, "verdicts": list(rollout.verdicts)}
    return Result(line=line, facts={**facts, **_facts(rollout), **shown})


def _step(entry: Mapping[str, Any]) -> str:
    """The step a verdict was on, as people say it."""
    step = str(entry.get("step", entry["percent"]))
    return f"{step} %" if step.isdigit() else step


def _kept(controller: Controller, rollout: Rollout) -> dict[str, str]:
    """Where what is left of a release that was not promoted can be looked at."""
    project = controller.project.name
    told = controller.slots.assignment(project, rollout.slot)
    serves = told is not None and told.release == rollout.release
    kept = {
        "bundle": address(controller.lake.release(project, rollout.release)),
        "shadow answers": address(controller.lake.shadow(project, date.min).parent),
        "served answers": address(controller.lake.landing(project, PREDICTIONS.name, date.min).parent),
    }
    return kept | ({"slot": f"{controller.slots.url(project, rollout.slot)} (no traffic)"} if serves else {})


def _facts(rollout: Rollout) -> dict[str, Any]:
    return {
        "state": rollout.state,
        "step": rollout.step,
        "release": rollout.release,
        "digest": rollout.digest,
        "slot": rollout.slot,
        "stable_slot": rollout.stable_slot,
        "percent": rollout.percent,
        "rehearse": rollout.rehearse,
        "epoch": rollout.epoch,
        "epoch_seen": rollout.epoch_seen,
        "reason": rollout.reason,
        "started_at": rollout.started_at,
    }


def _share(rollout: Rollout) -> str:
    shares = traffic(rollout)
    return f"{shares[rollout.slot]} % of the traffic" if shares else "no traffic yet"


def _project_aliases(settings: Settings, project: Project, ledger: Ledger, result: Result) -> None:
    """Shows the ledger's champion and challenger in MLflow, when what changed may have changed them."""
    if result.facts.get("state") not in ("promoted", "rolled_back", "aborted") or result.facts.get("rehearse"):
        return
    champion, challenger = ledger.champion(project.name), ledger.challenger(project.name)
    set_aliases(
        settings, project.name, champion.release if champion else None, challenger.release if challenger else None
    )


def _reconciled(settings: Settings, project: Project, ledger: Ledger) -> Result:
    changed = reconcile(settings, ledger, project.name)
    if changed is None:
        line = "rollout: MLflow does not answer; the ledger and what is served do not depend on it"
        return Result(line=line, facts={"aliases": None, "reason": line}, exit_code=99)
    said = ", ".join(f"{alias} {one['found']} is {one['now']} again" for alias, one in changed.items())
    return Result(line=f"rollout: {said or 'the aliases in MLflow are as the ledger says'}", facts={"aliases": changed})
