"""The steps of the demo, in order. Each can be repeated: what already happened is found, not done again."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from demo import facts
from demo.airflow import Run
from demo.context import CALM, DAILY, HISTORY, SEED, SHIFTED, WATCHED, Context, DemoFailed, succeeded
from demo.traffic import send
from jobs.batch import Batches
from jobs.errors import ServiceError
from jobs.settings import Settings
from jobs.storage import current

DELIVERED = Batches(HISTORY.first, CALM.last)
DAY = timedelta(days=1)


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
    lived, clients = _live_through(context, CALM.first, WATCHED)
    context.succeed("data", "demo__calm", {"batch": str(Batches(lived.last + DAY, CALM.last))})
    context.succeed("monitoring", f"demo__{CALM.last}", {"batch": str(Batches(lived.first, CALM.last))})
    found = _monitoring(context, CALM.last) | {"replay": facts.replay(context.lake, context.project, lived)}
    if not found["replay"]["share"] or found["replay"]["share"] < context.project.replay.minimum_identical:
        raise DemoFailed(f"served vectors are not what the lake says they were: {found['replay']}")
    return {"clients": clients} | found


def _live_through(
    context: Context, first: date, watched: int, drift_from: date | None = None
) -> tuple[Batches, dict[str, dict[str, Any]]]:
    """The days to be watched, and what clients saw by day: they send each day's events, which are then delivered.

    The days before those begin with events of yesterday that are still on their way, and that nobody asked about: live
    features would not have them, as they have whatever somebody asked about, and the replay would call them late.
    """
    early = Batches(first, first + (_late(context) - 1) * DAY)
    lived = Batches(early.last + DAY, early.last + watched * DAY)
    clients: dict[str, dict[str, Any]] = {}
    for days in (early, *(Batches(day, day) for day in lived)):
        context.say(f"clients send the events of {days}")
        clients[str(days)] = send(context.settings, context.project, context.events(days, drift_from)).facts()
        context.succeed("data", f"demo__{days.last}", {"batch": str(days)})
    # Of the early days the replay has to know what was asked.
    context.tidemill("ingest", "--project", context.project.name, "--source", "predictions", "--batch", str(early))
    return lived, clients


def _late(context: Context) -> int:
    """How many days an event may still be on its way."""
    return max(source.lateness_days for source in context.project.sources if source.required)


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
    watched = context.project.drift.persistent_batches
    first = SHIFTED.last - (watched + _late(context) - 1) * DAY
    context.succeed("data", "demo__shifted", {"batch": str(Batches(SHIFTED.first, first - DAY))})
    lived, clients = _live_through(context, first, watched, SHIFTED.first)
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
