"""How the demo's outcome is printed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from demo.context import NEXT, SHIFTED, Context
from jobs.settings import HOME, ROOT
from jobs.storage import current

Facts = Mapping[str, Any]


def table(steps: list[dict[str, Any]]) -> Table:
    """A row a step: what it was, its rows, its time and its verdict."""
    shown = Table(title="What happened", title_justify="left")
    for heading, justify in (("step", "left"), ("rows", "right"), ("seconds", "right"), ("verdict", "left")):
        shown.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for entry in steps:
        rows, verdict = _OUTCOMES.get(entry["name"], _plain)(entry["facts"]) if entry["ok"] else ("", "failed")
        shown.add_row(entry["name"], str(rows), f"{entry['seconds']:.1f}", verdict)
    return shown


def _plain(facts: Facts) -> tuple[Any, str]:
    return "", "done"


def _simulated(facts: Facts) -> tuple[Any, str]:
    return facts["rows"], f"delivered in {facts['files']} files, mishaps and all"


def _data(facts: Facts) -> tuple[Any, str]:
    text = f"{facts['accepted']} accepted, {facts['quarantined']} quarantined, {facts['duplicates']} duplicates"
    return facts["delivered"], f"{text}; {facts['passed']} of {facts['batches']} batches valid"


def _training(facts: Facts) -> tuple[Any, str]:
    verdict = facts["verdict"]
    refusals = [check["name"] for check in verdict.get("checks", []) if check["state"] == "FAILED"]
    rows = facts["snapshot"].get("rows", "")
    rows = sum(rows.values()) if isinstance(rows, Mapping) else rows
    return rows, f"gate: {verdict.get('verdict')}" + (f" ({', '.join(refusals[:3])})" if refusals else "")


def _rollout(facts: Facts) -> tuple[Any, str]:
    requests = facts.get("clients", {}).get("requests", "")
    failed = f"; {facts['clients']['failed']} failed requests" if "clients" in facts else ""
    rollout = facts["rollout"]
    rule = (
        f" at {rollout.get('step')} by {rollout.get('rule')}"
        if rollout.get("state") == "rolled_back"
        else _shadow(rollout)
    )
    return requests, f"rollout: {rollout.get('state')}{rule}{failed}"


def _shadow(rollout: Facts) -> str:
    """What was seen of a promoted release in the shadow; nothing of a first one, which has none."""
    seen = [check for one in rollout.get("verdicts", ()) if one["step"] == "shadow" for check in one["checks"]]
    return "".join(f"; shadow: {check['detail']}" for check in seen if check["name"] == "decisions")


def _traffic(facts: Facts) -> tuple[Any, str]:
    requests = sum(day["requests"] for day in facts["clients"].values())
    failed = sum(day["failed"] for day in facts["clients"].values())
    return requests, f"{failed} failed requests; drift: {facts['drift'].get('finding')}; {_replay(facts)}"


def _replay(facts: Facts) -> str:
    replay = facts["replay"]
    share = "nothing" if replay["share"] is None else f"{int(replay['share'] * 10_000) / 100} %"
    return f"replay: {share} of {replay['vectors']} vectors identical"


_OUTCOMES: dict[str, Callable[[Facts], tuple[Any, str]]] = {
    "simulate": _simulated,
    "data_range": _data,
    "data_daily": _data,
    "training_first": _training,
    "rollout_first": _rollout,
    "traffic": _traffic,
    "drift": _traffic,
    "training_retrain": _training,
    "rollout_canary": _rollout,
    "bad_challenger": _training,
    "bad_candidate": _rollout,
}


def champions(steps: list[dict[str, Any]]) -> str:
    """The champion before and after the retraining, and after both bad releases."""
    facts = {entry["name"]: entry["facts"] for entry in steps}
    before, after = facts["rollout_canary"]["before"], facts["rollout_canary"]["champion"]
    last = facts["bad_candidate"]["champion"]
    return (
        f"\nChampion before the shift: {before['release']} (epoch {before['epoch']}); "
        f"after: {after['release']} (epoch {after['epoch']}); "
        f"after a bad challenger and a bad candidate, still: {last['release']}"
    )


def addresses(console: Console, context: Context) -> None:
    """Where to look, how to log in, and a prediction that works when it is copied."""
    settings, lake, project = context.settings, context.lake, context.project
    secrets = HOME / "settings.env"
    report = current(lake.monitoring(project.name, "drift", SHIFTED.last))
    event = context.events(NEXT, SHIFTED.first)[0]
    pages = [
        (
            "Airflow",
            f"{settings.airflow_url}  user {settings.airflow_username}, password TIDEMILL_AIRFLOW_PASSWORD in {secrets}",
        ),
        (
            "MLflow",
            f"{settings.mlflow_url}/#/models/{project.name}  user {settings.mlflow_username}, password TIDEMILL_MLFLOW_PASSWORD in {secrets}",
        ),
        ("Predictions", f"{settings.serving_url}{context.predict}"),
        ("Drift", (report.folder / "report.html").as_uri() if report else "no report"),
        ("Evidently", (report.folder / "evidently.html").as_uri() if report else "no report"),
        ("Monitoring", (lake.monitoring(project.name, "drift", SHIFTED.last).parents[1] / "index.html").as_uri()),
        ("GX data docs", (lake.data_docs() / "index.html").as_uri()),
        ("dbt docs", (lake.dbt_docs(project.name) / "index.html").as_uri()),
    ]
    console.print("\nWhere to look")
    for name, where in pages:
        console.print(f"  {name:<13} {where}", highlight=False, soft_wrap=True)
    console.print("\nA prediction, and why it is so (paste them):")
    for path in ("predict", "explain"):
        console.print(
            f"  curl -s {settings.serving_url}/{project.name}/{path} "
            f'-H "Authorization: Bearer $(. {secrets}; echo $TIDEMILL_API_KEY)" '
            f"-H 'x-entity: {event[project.entity]}' -d '{json.dumps(event)}'\n",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
    console.print(
        f"  Services keep running; `make down` stops them. The command line is {ROOT}/.venv/jobs/bin/tidemill\n",
        highlight=False,
        soft_wrap=True,
    )
