"""Run by the orchestrate environment's interpreter: one command of a stage, where the settings say it runs."""

import json
import logging
import sys
from types import SimpleNamespace

logging.disable(logging.CRITICAL)
sys.path.insert(0, "dags")

import _compute  # noqa: E402

stage, arguments, then = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3:]
pushed: dict[str, object] = {}


def push(key: str, value: object) -> None:
    pushed[key] = value


ti = SimpleNamespace(
    dag_id="fraud_data", task_id="etl", run_id="manual__2026-01-10T00:00:00+00:00", map_index=-1, try_number=1,
    xcom_push=push,
)  # fmt: skip
task = SimpleNamespace(do_xcom_push=True, task_id="etl", aws_conn_id=None, region_name=None)
environment = {"AIRFLOW_CTX_DAG_ID": "fraud_data", "AIRFLOW_CTX_DAG_OWNER": "payments risk"}
found: dict[str, object] = {"links": [type(link).__name__ for link in _compute.links(stage)]}
try:
    computer = _compute.computer(stage, task)
    found["code"], found["line"] = computer.run(arguments, environment, {"ti": ti})
    if then == ["stop"]:
        computer.stop()
except Exception as error:
    found["raised"], found["message"] = type(error).__name__, str(error)
print(json.dumps(found | {"pushed": pushed}))
