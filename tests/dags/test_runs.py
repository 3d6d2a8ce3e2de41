"""What a real Airflow does with the DAGs: which commands it starts, for which batch, and what an answer leads to.

The `tidemill` it starts writes down how it was called and answers as laid down here; the stages have
their own tests, and test_backfill.py runs them under Airflow for real.
"""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from jobs.lake import Lake
from jobs.projects import PROJECTS
from jobs.services import credentials
from tests.dags.airflow_here import Airflow

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]
PROJECT = next(iter(PROJECTS.values()))
DATA, TRAINING, ROLLOUT, MONITORING = (
    f"{PROJECT.name}_{kind}" for kind in ("data", "training", "rollout", "monitoring")
)
STAGES = ("ingest", "etl", "validate", "features")
FIRST_STEP = f"step_{PROJECT.canary.steps[0]}"


def deliver(airflow: Airflow, *days: str) -> None:
    """A file for each required source on each day; what is in it is no business of Airflow."""
    lake = Lake(airflow.settings.lake_uri)
    for day in map(date.fromisoformat, days):
        for source in PROJECT.sources:
            if source.required:
                folder = lake.landing(PROJECT.name, source.name, day)
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "0123456789abcdef-delivery.csv").write_text("delivered\n")


def publish_features(airflow: Airflow, day: str) -> None:
    """As the features stage ends: with the day's events and their labels."""
    folder = Lake(airflow.settings.lake_uri).spine(PROJECT.name, date.fromisoformat(day))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "current.json").write_text("{}")


def test_a_range_is_one_run_of_each_stage(airflow: Airflow) -> None:
    airflow.answers({})
    deliver(airflow, "2026-02-20")
    run = airflow.trigger(DATA, {"batch": "2026-02-01..2026-02-20"})
    assert set(airflow.finished(DATA, run).values()) == {"success"}
    assert airflow.commands() == [
        f"{stage} --project {PROJECT.name} --batch 2026-02-01..2026-02-20" for stage in STAGES
    ]
    assert f"tidemill etl --project {PROJECT.name} --batch 2026-02-01..2026-02-20" in airflow.log(DATA, run, "etl")


def test_a_stage_is_told_its_run_but_none_of_airflows_passwords(airflow: Airflow) -> None:
    airflow.answers({})
    deliver(airflow, "2026-02-20")
    run = airflow.trigger(DATA, {"batch": "2026-02-20"})
    airflow.finished(DATA, run)
    environment = airflow.calls()[0]["environment"]
    assert environment["AIRFLOW_CTX_DAG_RUN_ID"] == run
    assert not [name for name in environment if name.startswith("AIRFLOW__")]


def test_a_backfill_takes_each_day_from_the_first_to_the_last(airflow: Airflow) -> None:
    airflow.answers({})
    days = ["2026-01-20", "2026-01-21", "2026-01-22"]
    deliver(airflow, *days)
    dates = ("--from-date", days[0], "--to-date", days[-1])
    airflow.run("backfill", "create", "--dag-id", DATA, *dates, "--max-active-runs", "1")
    done = (
        "SELECT logical_date FROM dag_run WHERE dag_id = %s AND run_type = 'backfill' AND state = 'success' "
        "AND logical_date >= %s ORDER BY 1"
    )
    logical = airflow.until(lambda: len(found := airflow.query(done, DATA, days[0])) == len(days) and found, 120)
    assert [str(at.date()) for (at,) in logical] == days
    for stage in STAGES:
        batches = [command.split()[-1] for command in airflow.commands() if command.startswith(stage)]
        assert batches == days, f"{stage} ran out of order"


def test_a_run_waits_until_the_producer_has_delivered(airflow: Airflow) -> None:
    airflow.answers({})
    run = airflow.trigger(DATA, {"batch": "2026-03-07"})
    waiting = "SELECT 1 FROM task_instance WHERE dag_id = %s AND run_id = %s AND state = 'deferred'"
    airflow.until(lambda: airflow.query(waiting, DATA, run), 60)
    assert airflow.commands() == []
    deliver(airflow, "2026-03-07")
    assert set(airflow.finished(DATA, run).values()) == {"success"}


@pytest.mark.fault("F37")
def test_a_day_without_data_is_skipped_and_nothing_is_published_or_started(airflow: Airflow) -> None:
    airflow.answers({"ingest": [(99, "nothing landed")]})
    deliver(airflow, "2026-03-08")
    run = airflow.trigger(DATA, {"batch": "2026-03-08"})
    states = airflow.finished(DATA, run)
    assert {states[stage] for stage in STAGES} == {"skipped"}
    assert len(airflow.commands()) == 1
    assert "nothing landed" in airflow.log(DATA, run, "ingest")
    assert airflow.query("SELECT 1 FROM asset_event WHERE source_run_id = %s", run) == []


def test_monitoring_measures_a_day_without_traffic_and_asks_for_no_training(airflow: Airflow) -> None:
    before = airflow.query("SELECT count(*) FROM dag_run WHERE dag_id = %s", TRAINING)
    airflow.answers({"ingest": [(99, "no traffic")], "request-retrain": [(99, "no reason")]})
    publish_features(airflow, "2026-02-20")
    run = airflow.trigger(MONITORING, {"batch": "2026-02-20"})
    states = airflow.finished(MONITORING, run)
    skipped = {"ingest", "request_retrain"}
    assert states == {task: "skipped" if task in skipped else "success" for task in states}
    assert airflow.query("SELECT 1 FROM asset_event WHERE source_run_id = %s", run) == []
    assert airflow.query("SELECT count(*) FROM dag_run WHERE dag_id = %s", TRAINING) == before


def test_a_request_trains_and_a_release_rolls_out(airflow: Airflow) -> None:
    airflow.answers({"ingest": [(99, "no traffic")]})
    publish_features(airflow, "2026-02-21")
    airflow.finished(MONITORING, airflow.trigger(MONITORING, {"batch": "2026-02-21"}))
    started = "SELECT run_id, logical_date FROM dag_run WHERE dag_id = %s AND run_type = 'asset_triggered'"
    [(training, logical)] = airflow.until(lambda: airflow.query(started, TRAINING), 60)
    assert logical is None
    assert set(airflow.finished(TRAINING, training).values()) == {"success"}
    [(rollout, _)] = airflow.until(lambda: airflow.query(started, ROLLOUT), 60)
    assert set(airflow.finished(ROLLOUT, rollout).values()) == {"success"}
    trained = [command for command in airflow.commands() if command.startswith(("snapshot", "train"))]
    assert trained == [
        f"snapshot --project {PROJECT.name} --run {training}",
        *(f"train --project {PROJECT.name} --model {model.name} --run {training}" for model in PROJECT.models),
    ]


def test_a_choice_becomes_an_option(airflow: Airflow) -> None:
    airflow.answers({"snapshot": [(2, "stop here")]})
    airflow.finished(TRAINING, airflow.trigger(TRAINING, {"as_of": "2026-02-22", "negative_control": True}, "first"))
    wanted = f"snapshot --project {PROJECT.name} --run first --as-of 2026-02-22 --negative-control"
    assert airflow.commands() == [wanted], "a usage error must not be tried again"


def test_a_refusal_by_the_gate_ends_the_run_at_once(airflow: Airflow) -> None:
    airflow.answers({"gate": [(1, "refused: average_precision 0.03 below 0.2")]})
    run = airflow.trigger(TRAINING, {})
    states = airflow.finished(TRAINING, run)
    assert (states["gate"], states["register"]) == ("failed", "upstream_failed")
    assert [command for command in airflow.commands() if command.startswith("gate")] == [
        f"gate --project {PROJECT.name} --run {run}"
    ]
    assert "average_precision 0.03 below 0.2" in airflow.log(TRAINING, run, "gate")


def test_a_fault_is_tried_again(airflow: Airflow) -> None:
    airflow.answers({"evaluate": [(1, "MLflow did not answer")], "gate": [(1, "stop here")]})
    states = airflow.finished(TRAINING, airflow.trigger(TRAINING, {}))
    assert states["evaluate"] == "success"


def test_a_step_that_holds_is_asked_again_without_occupying_a_worker(airflow: Airflow) -> None:
    hold = (99, json.dumps({"wait_seconds": 1, "reason": "12 of 200 requests"}))
    airflow.answers({"rollout step": [hold, hold, (0, "{}")]})
    run = airflow.trigger(ROLLOUT, {"rehearse": "slow"})
    assert set(airflow.finished(ROLLOUT, run).values()) == {"success"}
    steps = [command.split("--percent ")[1].split()[0] for command in airflow.commands() if " step " in command]
    first, *others = map(str, PROJECT.canary.steps)
    assert steps == [first, first, first, *others]
    assert airflow.commands()[0] == f"rollout start --project {PROJECT.name} --rehearse slow --json"
    resumed = airflow.log(ROLLOUT, run, FIRST_STEP)
    assert resumed.count("12 of 200 requests") == 2


def test_a_rolled_back_release_is_not_tried_again_and_says_why(airflow: Airflow) -> None:
    back = (1, json.dumps({"action": "ROLL_BACK", "reason": "error rate 0.2 above 0.01 at 5 %"}))
    airflow.answers({"rollout step": [back]})
    run = airflow.trigger(ROLLOUT, {})
    states = airflow.finished(ROLLOUT, run)
    assert states[FIRST_STEP] == "failed"
    assert states["promote"] == "upstream_failed"
    assert len([command for command in airflow.commands() if " step " in command]) == 1
    assert "rolled back: error rate 0.2 above 0.01 at 5 %" in airflow.log(ROLLOUT, run, FIRST_STEP)


def test_a_step_that_broke_is_tried_again(airflow: Airflow) -> None:
    airflow.answers({"rollout step": [(1, "ServiceError: the router did not answer")]})
    run = airflow.trigger(ROLLOUT, {})
    assert set(airflow.finished(ROLLOUT, run).values()) == {"success"}


def test_a_rollout_ended_by_hand_skips_what_is_left(airflow: Airflow) -> None:
    airflow.answers({"rollout step": [(99, json.dumps({"state": None, "reason": "no rollout is under way"}))]})
    run = airflow.trigger(ROLLOUT, {})
    states = airflow.finished(ROLLOUT, run)
    assert (states.pop("start"), states.pop("shadow")) == ("success", "success")
    assert set(states.values()) == {"skipped"}


def test_without_a_challenger_everything_is_skipped(airflow: Airflow) -> None:
    airflow.answers({"rollout start": [(99, "no challenger")]})
    run = airflow.trigger(ROLLOUT, {})
    assert set(airflow.finished(ROLLOUT, run).values()) == {"skipped"}


HOSTILE: list[tuple[str, dict[str, Any]]] = [
    (DATA, {"batch": "$(touch {witness})"}),
    (DATA, {"batch": "2026-02-20; touch {witness}"}),
    (DATA, {"batch": "2026-02-20\n"}),
    (DATA, {"batch": "2026-02-20 --force"}),
    (DATA, {"batch": "{{ var.value.get('secret', 'leaked') }}"}),
    (DATA, {"batch": "9999-12-31"}),
    (DATA, {"batch": "2026-02-20", "force": True}),
    (DATA, {"batch": ["2026-02-20"]}),
    (MONITORING, {"batch": "'; DROP TABLE champion; --"}),
    (TRAINING, {"as_of": "2026-02-30"}),
    (TRAINING, {"as_of": "2026-02-22\n"}),
    (TRAINING, {"negative_control": "yes"}),
    (TRAINING, {"negative_control": 1}),
    (ROLLOUT, {"release": "r-0123456789ab\n"}),
    (ROLLOUT, {"release": "../../etc"}),
    (ROLLOUT, {"rehearse": "none"}),
]


@pytest.mark.fault("F61")
def test_a_hostile_conf_starts_nothing_and_is_quoted(airflow: Airflow) -> None:
    """One test for all, because the runs are over sooner together."""
    airflow.answers({})
    deliver(airflow, "2026-02-20")
    witness = airflow.folder / "witness"
    accepted = []
    for dag, hostile in HOSTILE:
        conf = {k: v.replace("{witness}", str(witness)) if isinstance(v, str) else v for k, v in hostile.items()}
        code, answer = airflow.post(f"/dags/{dag}/dagRuns", {"logical_date": None, "conf": conf})
        assert code in (200, 400, 422), answer
        if code == 200:
            accepted.append((dag, conf, answer["dag_run_id"]))
    assert accepted, "Airflow itself refused every one: the check of the tasks was not reached"
    for dag, conf, run in accepted:
        states = airflow.finished(dag, run)
        assert set(states.values()) == {"failed", "upstream_failed"}, (conf, states)
        first = next(task for task, state in states.items() if state == "failed")
        log = airflow.log(dag, run, first)
        assert next(iter(conf)) in log or "force" in log
        assert "nothing was started" in log or "Invalid input for param" in log
    assert airflow.commands() == []
    assert not witness.exists()


@pytest.mark.fault("F61")
@pytest.mark.parametrize("run", ["x;touch y", "$(id)", "a b", "{{ ds }}", "-rf", "x" * 220])
def test_a_hostile_run_id_starts_nothing(airflow: Airflow, run: str) -> None:
    airflow.answers({})
    code, answer = airflow.post(f"/dags/{TRAINING}/dagRuns", {"logical_date": None, "dag_run_id": run})
    if code == 200:
        assert set(airflow.finished(TRAINING, answer["dag_run_id"]).values()) == {"failed", "upstream_failed"}
    assert airflow.commands() == []


@pytest.mark.fault("F61")
def test_a_hostile_conf_by_backfill_or_command_line_starts_nothing(airflow: Airflow) -> None:
    airflow.answers({})
    deliver(airflow, "2026-01-25")
    conf = json.dumps({"batch": "2026-01-25\n"})
    airflow.run("dags", "trigger", DATA, "--conf", conf, "--run-id", "by_hand", check=False)
    period = ("--from-date", "2026-01-25", "--to-date", "2026-01-25")
    airflow.run("backfill", "create", "--dag-id", DATA, *period, "--dag-run-conf", conf, check=False)
    runs = "SELECT run_id FROM dag_run WHERE dag_id = %s AND conf::text LIKE '%%2026-01-25%%'"
    for (run,) in airflow.query(runs, DATA):
        assert "success" not in airflow.finished(DATA, run).values()
    assert airflow.commands() == []


@pytest.mark.fault("F64")
def test_no_secret_is_in_a_log_or_in_what_airflow_keeps_of_its_runs(airflow: Airflow) -> None:
    known = credentials.ensure(airflow.settings)
    secrets = [known.airflow, known.airflow_jwt, known.airflow_session, known.airflow_fernet]
    logs = [path for path in airflow.folder.rglob("*.log") if path.is_file()]
    assert len(logs) > 20
    assert [path.name for path in logs if any(secret in path.read_text(errors="replace") for secret in secrets)] == []
    for table in ("xcom", "rendered_task_instance_fields", "log", "dag_run", "serialized_dag", "task_instance"):
        rows = str(airflow.query(f"SELECT t::text FROM {table} AS t"))
        assert not any(secret in rows for secret in secrets), table


def test_no_task_was_left_running(airflow: Airflow) -> None:
    left = "SELECT dag_id, task_id FROM task_instance WHERE state IN ('running', 'queued')"
    airflow.until(lambda: not airflow.query(left), 60)
    assert all(process.poll() is None for process in airflow.processes), "a part of Airflow died on the way"
