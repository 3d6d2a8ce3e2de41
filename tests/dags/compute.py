"""Run by the orchestrate environment's interpreter: what Airflow would do of a stage or a wait, asked a line at a time.

Importing Airflow takes seconds, so one process answers every test of a module.
"""

import asyncio
import json
import logging
import os
import sys
from pathlib import Path
from types import SimpleNamespace

logging.disable(logging.CRITICAL)
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # Airflow logs to standard output
sys.path.insert(0, "dags")

import _compute  # noqa: E402
import _ecs  # noqa: E402
import _emr  # noqa: E402
import _links  # noqa: E402

_ecs._LOOK_SECONDS = 0.3
_emr._LOOK_SECONDS = 0.3


def command(stage: str, arguments: list[str], then: list[str]) -> dict[str, object]:
    """One command of a stage, where the settings say that it runs."""
    pushed: dict[str, object] = {}

    def push(key: str, value: object) -> None:
        pushed[key] = value

    ti = SimpleNamespace(
        dag_id="fraud_data", task_id="etl", run_id="manual__2026-01-10T00:00:00+00:00", map_index=-1, try_number=1,
        xcom_push=push,
    )  # fmt: skip
    task = SimpleNamespace(do_xcom_push=True, task_id="etl", aws_conn_id=None, region_name=None)
    environment = {"AIRFLOW_CTX_DAG_ID": "fraud_data", "AIRFLOW_CTX_DAG_OWNER": "payments risk"}
    _compute._settings.cache_clear()
    found: dict[str, object] = {"links": [type(link).__name__ for link in _compute.links(stage)], "pushed": pushed}
    computer = _compute.computer(stage, task)
    try:
        found["code"], found["line"] = computer.run(arguments, environment, {"ti": ti})
    finally:
        if then == ["stop"]:
            computer.stop()
    return found


def wait(folder: str) -> dict[str, object]:
    """What a wait for a folder is deferred to, and, once `folder` holds a file, what fires it."""
    trigger = _links._missing(Path(folder), "[!.]*", 0.2)
    if trigger is None:
        return {"trigger": None}
    name, given = trigger.serialize()

    async def first() -> dict[str, object]:
        async for event in trigger.run():
            return dict(event.payload)
        return {}

    print(json.dumps({"trigger": name, "given": given}), file=answers, flush=True)
    return {"event": asyncio.run(asyncio.wait_for(first(), 60))}


for line in sys.stdin:
    asked = json.loads(line)
    os.environ.clear()
    os.environ.update(asked["environment"])
    try:
        answer = wait(asked["wait"]) if "wait" in asked else command(asked["stage"], asked["arguments"], asked["then"])
    except Exception as error:
        answer = {"raised": type(error).__name__, "message": str(error)}
    print(json.dumps(answer), file=answers, flush=True)
