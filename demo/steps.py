"""The steps of the demo, in order. Each can be repeated: what already happened is found, not done again."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from demo import facts
from demo.airflow import Run
from demo.context import CALM, DAILY, HISTORY, SEED, SERVED, SHIFTED, Context, DemoFailed, succeeded
from demo.traffic import send
from jobs.batch import Batches
from jobs.errors import ServiceError
from jobs.settings import Settings
from jobs.storage import current

DELIVERED = Batches(HISTORY.first, CALM.last)


def environments(context: Context) -> dict[str, Any]:
    """The three environments, which `make` has just checked against their pins."""
    path = context.settings.home / "demo" / "environments.json"
    made: dict[str, Any] = json.loads(path.read_bytes()) if path.exists() else {"facts": {}}
    facts_of_each: dict[str, Any] = made["facts"]
    return {"made_in_seconds": made.get("seconds"), **facts_of_each}


def services(context: Context) -> dict[str, Any]:
    """Every service of this machine, up and answering."""
    from jobs.services import control

    answer = dict(control.up().facts)
    context.settings = Settings.load()
    context.airflow.wait_for_dags({context.dag(name) for name in ("data", "training", "rollout", "monitoring")})
    return answer


def simulate(context: Context) -> dict[str, Any]:
    """Eleven weeks of events, delivered as a producer would: some late, some twice, some malformed."""
    return _simulate(context, DELIVERED)


def _simulate(context: Context, days: Batches, *options: str) -> dict[str, Any]:
    out = context.folder / "delivery"
    arguments = ("--project", context.project.name, "--batch", str(days), "--out", str(out), "--seed", str(SEED))
    return context.tidemill("simulate", *arguments, "--mishaps", "--land", *options)


def data_range(context: Context) -> dict[str, Any]:
    """The first ten weeks in one run."""
    context.succeed("data", "demo__history", {"batch": str(HISTORY)})
    return facts.data(context.lake, context.project, HISTORY)


def data_daily(context: Context) -> dict[str, Any]:
    """The next days as daily runs, made by Airflow's own backfill."""
    return _backfill(context, DAILY)


def _backfill(context: Context, days: Batches) -> dict[str, Any]:
    dag = context.dag("data")
    dates = ("--from-date", str(days.first), "--to-date", str(days.last))
    runs = _backfill_runs(context, days)
    if len(runs) < len(days):
        context.command("airflow", "backfill", "create", "--dag-id", dag, *dates, "--max-active-runs", "1")
        runs = _backfill_runs(context, days)
    if len(runs) != len(days):
        raise ServiceError(f"airflow backfill create made {len(runs)} runs of {dag} for {days}")
    for run_id in runs:
        succeeded(context.airflow.follow(dag, run_id, context.say), context.settings)
    return facts.data(context.lake, context.project, days) | {"runs": runs}


def _backfill_runs(context: Context, days: Batches) -> list[str]:
    runs = context.airflow.runs(context.dag("data"))
    found = [
        run
        for run in runs
        if run["run_type"] == "backfill" and date.fromisoformat(run["data_interval_start"][:10]) in days
    ]
    return sorted(str(run["dag_run_id"]) for run in found)


def training_first(context: Context) -> dict[str, Any]:
    """The first champion-to-be: it has to beat the baselines."""
    run = context.succeed("training", "demo__first", {"as_of": str(DAILY.last)})
    return _training(context, run)


def _training(context: Context, run: Run) -> dict[str, Any]:
    snapshot = facts.document(context.lake.run(context.project.name, run.id) / "snapshot", "snapshot.json")
    verdict = facts.document(context.lake.run(context.project.name, run.id) / "verdict", "verdict.json")
    return {"run": run.id, "tasks": run.tasks, "snapshot": snapshot, "verdict": verdict}


def _champion(context: Context) -> dict[str, Any] | None:
    with context.ledger() as ledger:
        champion = ledger.champion(context.project.name)
    return {"release": champion.release, "epoch": champion.epoch} if champion else None


def _rollout(context: Context, run_id: str) -> tuple[Run, dict[str, Any]]:
    run = context.airflow.follow(context.dag("rollout"), run_id, context.say)
    return run, context.tidemill("rollout", "status", "--project", context.project.name)


def rollout_first(context: Context) -> dict[str, Any]:
    """The registered release, started by its asset event, checked, and given all the traffic."""
    run_id = context.airflow.newest(context.dag("rollout"), "asset_triggered", "")
    run, status = _rollout(context, run_id)
    succeeded(run, context.settings)
    return {"run": run_id, "tasks": run.tasks, "champion": _champion(context), "rollout": status}


def traffic(context: Context) -> dict[str, Any]:
    """Clients send the following days' events; each day is then ingested, and what was served is watched."""
    clients = _live_through(context, SERVED)
    context.succeed("data", "demo__calm", {"batch": str(CALM)})
    watched = Batches(SERVED.first, CALM.last)
    context.succeed("monitoring", f"demo__{CALM.last}", {"batch": str(watched)})
    found = _monitoring(context, CALM.last) | {"replay": facts.replay(context.lake, context.project, SERVED)}
    if not found["replay"]["share"] or found["replay"]["share"] < context.project.replay.minimum_identical:
        raise DemoFailed(f"served vectors are not what the lake says they were: {found['replay']}")
    return {"clients": clients} | found


def _live_through(context: Context, days: Batches, drift_from: date | None = None) -> dict[str, dict[str, Any]]:
    """What clients saw by day: they send each day's events, which are then delivered; before, what is on its way."""
    early = _on_their_way(context, days.first)
    context.say(f"clients send the events of {early}, of which some are delivered later")
    clients = {str(early): send(context.settings, context.project, context.events(early, drift_from)).facts()}
    for day in days:
        context.say(f"clients send the events of {day}")
        events = context.events(Batches(day, day), drift_from)
        clients[str(day)] = send(context.settings, context.project, events).facts()
        context.succeed("data", f"demo__{day}", {"batch": str(day)})
    # What was asked about days gone by had the values of today, as no client of a running system has: it is taken in,
    # so that the replay knows what was counted, and not replayed.
    context.tidemill("ingest", "--project", context.project.name, "--source", "predictions", "--batch", str(early))
    return clients


def _on_their_way(context: Context, day: date) -> Batches:
    """The days before of which events may still be delivered on this one.

    Clients ask about an event when it happens, so live features count it however late it is delivered. What nobody
    asked about would be missing from them: the replay would find it, and call it a late event.
    """
    late = max(source.lateness_days for source in context.project.sources if source.required)
    return Batches(day - timedelta(days=late), day - timedelta(days=1))


def _monitoring(context: Context, day: date) -> dict[str, Any]:
    name, lake = context.project.name, context.lake
    labels = current(lake.labels(name, day))
    return {
        "labels": dict(labels.manifest.facts) if labels else {},
        "drift": facts.document(lake.monitoring(name, "drift", day), "result.json"),
        "performance": facts.document(lake.monitoring(name, "performance", day), "result.json"),
    }


def drift(context: Context) -> dict[str, Any]:
    """Five weeks of a world that moved as the project's simulator has it; monitoring sees it."""
    delivered = _simulate(context, SHIFTED, "--drift")
    lived = Batches(SHIFTED.last - timedelta(days=context.project.drift.persistent_batches - 1), SHIFTED.last)
    known = Batches(SHIFTED.first, lived.first - timedelta(days=1))
    context.succeed("data", "demo__shifted", {"batch": str(known)})
    clients = _live_through(context, lived, SHIFTED.first)
    run = context.succeed("monitoring", f"demo__until_{lived.last}", {"batch": str(lived)})
    found = _monitoring(context, SHIFTED.last)
    if found["drift"].get("finding") != "drift":
        raise DemoFailed(f"the shift was not seen: {found['drift'].get('reason')}")
    found["replay"] = facts.replay(context.lake, context.project, lived)
    return {"simulated": delivered, "clients": clients, "tasks": run.tasks} | found


def training_retrain(context: Context) -> dict[str, Any]:
    """The training that drift started: its challenger has to beat the champion."""
    run_id = context.airflow.newest(context.dag("training"), "asset_triggered", "")
    run = context.airflow.follow(context.dag("training"), run_id, context.say)
    return _training(context, succeeded(run, context.settings))


def rollout_canary(context: Context) -> dict[str, Any]:
    """The challenger walks through live traffic, with a verdict at each step, and becomes champion."""
    before = _champion(context)
    run_id = _second_rollout(context)
    with context.live() as live:
        run, status = _rollout(context, run_id)
        if run.state == "failed":  # interrupted before, it was left without traffic and rolled back at its deadline
            run = context.run("rollout", "demo__canary_again", {"release": status["release"]})
            status = context.tidemill("rollout", "status", "--project", context.project.name)
    succeeded(run, context.settings)
    return {
        "run": run_id,
        "before": before,
        "champion": _champion(context),
        "rollout": status,
        "clients": live.tally.facts(),
    }


def _second_rollout(context: Context) -> str:
    dag = context.dag("rollout")
    first = next(run for run in reversed(context.airflow.runs(dag)) if run["run_type"] == "asset_triggered")
    return context.airflow.newest(dag, "asset_triggered", first["run_after"])


def bad_challenger(context: Context) -> dict[str, Any]:
    """A training on shuffled labels: the gate has to refuse it."""
    run = context.run("training", "demo__shuffled_labels", {"negative_control": True})
    found = _training(context, run)
    if run.failed_tasks != ["gate"] or found["verdict"].get("verdict") != "REJECT":
        raise DemoFailed(f"the gate did not refuse shuffled labels: {run.state}, failed {run.failed_tasks}")
    return found | {"champion": _champion(context)}


def bad_candidate(context: Context) -> dict[str, Any]:
    """A candidate that answers with errors: the canary has to roll it back while clients are served."""
    before = _champion(context)
    context.say("a candidate that fails every fifth request is started")
    with context.live() as live:
        run = context.run("rollout", "demo__errors", {"rehearse": "errors"})
        status = context.tidemill("rollout", "status", "--project", context.project.name)
    after = _champion(context)
    if run.state != "failed" or status.get("state") != "rolled_back" or after != before:
        raise DemoFailed(f"the failing candidate was not rolled back: {run.state}, {status.get('state')}")
    return {"tasks": run.tasks, "rollout": status, "champion": after, "clients": live.tally.facts()}


STEPS: tuple[Callable[[Context], dict[str, Any]], ...] = (
    environments, services, simulate, data_range, data_daily, training_first, rollout_first, traffic,
    drift, training_retrain, rollout_canary, bad_challenger, bad_candidate,
)  # fmt: skip
