"""A project that asks a person: what Airflow shows them, and what their answer, or none, leads to."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.dags.airflow_here import ASKING, Airflow
from tests.dags.conftest import parsed

TRAINING = "asking_training"
SHOWN = (0, json.dumps({"subject": "May it be registered?", "body": "**PROMOTE** {{ ds }}: 7 checks passed"}))


def test_a_project_that_asks_has_a_person_between_gate_and_registry(tmp_path: Path) -> None:
    bag = parsed(tmp_path, ASKING)
    assert bag["errors"] == {}
    order = bag["dags"][TRAINING]["order"]
    assert order[-3:] == ["gate", "approve", "register"]
    task = bag["dags"][TRAINING]["tasks"]["approve"]
    assert task["upstream"] == ["gate"]
    assert (task["command"], task["template_fields"]) == ("approval show", [])
    others = [name for name, dag in bag["dags"].items() if name != TRAINING and "approve" in dag["tasks"]]
    assert others == [], "whoever does not ask has no such task"


def asked(airflow: Airflow, run: str) -> Any:
    """The form, once a person can see it."""
    query = (
        "SELECT h.subject, h.body, h.defaults FROM hitl_detail h JOIN task_instance t ON t.id = h.ti_id "
        "WHERE t.dag_id = %s AND t.run_id = %s AND t.state = 'awaiting_input'"
    )
    found = airflow.until(lambda: airflow.query(query, TRAINING, run), 120)[0]
    time.sleep(10)  # as any person does: Airflow's executor still owns the task of a form answered in the same second
    return found


def answered(airflow: Airflow, run: str, said: str, note: str | None = None) -> tuple[int, Any]:
    path = f"/dags/{TRAINING}/dagRuns/{run}/taskInstances/approve/-1/hitlDetails"
    body = {"chosen_options": [said], "params_input": {"note": note}}
    return airflow.post(path, body, method="PATCH")


@pytest.mark.services
@pytest.mark.timeout(300)
def test_a_persons_yes_goes_to_the_ledger_and_registers(airflow: Airflow) -> None:
    airflow.answers({"approval show": [SHOWN]})
    run = airflow.trigger(TRAINING, {})
    subject, body, defaults = asked(airflow, run)
    assert (subject, body, defaults) == ("May it be registered?", "**PROMOTE** {{ ds }}: 7 checks passed", ["Reject"])
    code, told = answered(airflow, run, "Approve", "-seen; touch it")
    assert code == 200, told
    states = airflow.finished(TRAINING, run)
    assert (states["approve"], states["register"]) == ("success", "success")
    kept = next(call["arguments"] for call in airflow.calls() if call["arguments"][:2] == ["approval", "answer"])
    assert kept[2:] == [
        "--project", "asking", "--answer", "approve", "--by", "admin", "--note", "-seen; touch it", "--run", run,
    ]  # fmt: skip
    over = "SELECT 1 FROM dag_run WHERE dag_id = 'asking_rollout' AND state = 'success'"
    airflow.until(lambda: airflow.query(over), 120)


@pytest.mark.services
@pytest.mark.timeout(300)
def test_without_an_answer_in_time_it_is_a_no(airflow: Airflow) -> None:
    airflow.answers({"approval show": [SHOWN]})
    run = airflow.trigger(TRAINING, {})
    states = airflow.finished(TRAINING, run)
    assert (states["approve"], states["register"]) == ("success", "skipped")
    kept = next(command for command in airflow.commands() if command.startswith("approval answer"))
    assert kept == f"approval answer --project asking --answer reject --run {run}"
    assert not [command for command in airflow.commands() if command.startswith("register")]


@pytest.mark.services
@pytest.mark.timeout(300)
def test_an_answer_that_the_ledger_did_not_take_registers_nothing(airflow: Airflow) -> None:
    airflow.answers({"approval show": [SHOWN], "approval answer": [(2, "refused")]})
    run = airflow.trigger(TRAINING, {})
    asked(airflow, run)
    assert answered(airflow, run, "Approve")[0] == 200
    states = airflow.finished(TRAINING, run)
    assert (states["approve"], states["register"]) == ("failed", "upstream_failed")
