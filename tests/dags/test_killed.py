"""What Airflow does when its scheduler or a task is killed, stands still, hangs, or there is one too many of it."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from jobs.lake import Lake
from jobs.projects import PROJECTS
from jobs.storage import Published, current, verify
from tests.dags.airflow_here import Airflow
from tests.data.deliveries import csv, payment
from tests.data.deliveries import deliver as land_files

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]
PROJECT = next(iter(PROJECTS.values()))
DATA = f"{PROJECT.name}_data"
STAGES = ("ingest", "etl", "validate", "features")
SCHEDULER = ("scheduler", "--skip-serve-logs")
IMPATIENT = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "2",
}
"""A scheduler that gives up after seconds what it otherwise gives up after minutes."""


@pytest.fixture(scope="module")
def impatient(airflow: Airflow) -> Iterator[Airflow]:
    """The Airflow of all these tests, for a while with a scheduler that is soon out of patience."""
    airflow.stop(airflow.scheduler)
    airflow.scheduler = airflow.start(*SCHEDULER, **IMPATIENT)
    yield airflow
    airflow.stop(airflow.scheduler)
    airflow.scheduler = airflow.start(*SCHEDULER)


def deliver(airflow: Airflow, day: str, name: str, count: int) -> None:
    """A file of payments, and of each other required source something to wait for."""
    when = date.fromisoformat(day)
    rows = [
        payment(number, event_time=f"{day}T10:00:{number:02d}Z", transaction_id=f"{name}{number}")
        for number in range(count)
    ]
    for source in PROJECT.sources:
        if source.name == "transactions":
            land_files(airflow.settings, {f"{name}.csv": csv(rows)}, when)
        elif source.required:
            folder = Lake(airflow.settings.lake_uri).landing(PROJECT.name, source.name, when)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "0123456789abcdef-delivery.csv").write_text("delivered\n")


def published(airflow: Airflow, day: str) -> Published:
    found = current(Lake(airflow.settings.lake_uri).raw(PROJECT.name, "transactions", date.fromisoformat(day)))
    assert found is not None
    verify(found)
    return found


def state(pid: int) -> str:
    """As /proc says: T for one that was stopped, empty for none that runs."""
    try:
        found = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""
    return "" if found in "ZX" else found


def above(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def stopped_stage(airflow: Airflow) -> int:
    """The stage that stopped itself in the middle of publishing."""
    return int(airflow.until(lambda: [one["pid"] for one in airflow.calls() if state(one["pid"]) == "T"], 120)[0])


def commands(airflow: Airflow, *days: str) -> Counter[str]:
    """How often each command was started for these days."""
    return Counter(one for one in airflow.commands() if one.endswith(days))


def attempts(airflow: Airflow, run: str, task: str) -> list[tuple[int, str]]:
    return airflow.query("SELECT try_number, state FROM task_instance WHERE run_id = %s AND task_id = %s", run, task)  # type: ignore[return-value]


@pytest.mark.fault("F11")
def test_a_stage_that_hangs_is_ended_at_its_deadline_and_nothing_behind_it_runs(airflow: Airflow) -> None:
    airflow.answers({"ingest": [("hang", "it hangs")]})
    run = airflow.trigger("hanging", {"batch": "2026-02-20"})
    (call,) = airflow.until(airflow.calls, 120)
    children = Path(f"/proc/{call['pid']}/task/{call['pid']}/children")
    (child,) = airflow.until(lambda: children.read_text().split(), 20)
    assert airflow.finished("hanging", run) == {"ingest": "failed", "etl": "upstream_failed"}
    assert (state(call["pid"]), state(int(child))) == ("", "")
    assert len(airflow.commands()) == 1
    assert airflow.log("hanging", run, "ingest").count('"exc_type":"AirflowTaskTimeout"') == 1
    again = airflow.trigger("hanging", {"batch": "2026-02-20"})
    assert set(airflow.finished("hanging", again).values()) == {"success"}


@pytest.mark.fault("F12")
def test_a_stage_that_the_kernel_killed_says_what_to_do_about_memory_and_is_tried_again(airflow: Airflow) -> None:
    airflow.answers({"etl": [("killed", "as the kernel does")]})
    deliver(airflow, "2026-01-11", "day", 3)
    run = airflow.trigger(DATA, {"batch": "2026-01-11"})
    assert set(airflow.finished(DATA, run).values()) == {"success"}
    assert attempts(airflow, run, "etl") == [(2, "success")]
    assert "was killed (exit code -9), as the kernel does when memory runs out" in airflow.log(DATA, run, "etl")


@pytest.mark.fault("F08")
def test_of_two_runs_of_a_date_at_once_one_is_refused_and_of_two_without_one_publishes(airflow: Airflow) -> None:
    airflow.answers({})
    day = "2026-01-12"
    deliver(airflow, day, "day", 20)
    with airflow.real_stages("ingest"), ThreadPoolExecutor(2) as both:
        # By hand, a date means the day that was over then.
        body: dict[str, Any] = {"logical_date": "2026-01-13T00:00:00Z", "conf": {}}
        told = list(both.map(lambda _: airflow.post(f"/dags/{DATA}/dagRuns", body), range(2)))
        assert sorted(code for code, _ in told) == [200, 409]
        (run,) = (answer["dag_run_id"] for code, answer in told if code == 200)
        assert set(airflow.finished(DATA, run).values()) == {"success"}
        wanted = [f"{stage} --project {PROJECT.name} --batch {day}" for stage in STAGES]
        assert commands(airflow, day) == dict.fromkeys(wanted, 1)
        assert (published(airflow, day).epoch, published(airflow, day).manifest.rows) == (1, 20)
        day = "2026-01-13"
        deliver(airflow, day, "day", 20)
        runs = list(both.map(lambda _: airflow.trigger(DATA, {"batch": day}), range(2)))
        assert [set(airflow.finished(DATA, run).values()) for run in runs] == [{"success"}] * 2
    assert commands(airflow, day)[f"ingest --project {PROJECT.name} --batch {day}"] == 2
    assert (published(airflow, day).epoch, published(airflow, day).manifest.rows) == (1, 20)


@pytest.mark.fault("F06")
def test_with_two_schedulers_each_task_runs_once(airflow: Airflow) -> None:
    days = ["2026-01-14", "2026-01-15", "2026-01-16"]
    airflow.answers({})
    for day in days:
        deliver(airflow, day, "day", 3)
    second = airflow.start(*SCHEDULER)
    running = "SELECT count(*) FROM job WHERE job_type = 'SchedulerJob' AND state = 'running' AND latest_heartbeat > now() - interval '20 s'"
    airflow.until(lambda: airflow.query(running) == [(2,)], 120)
    runs = [airflow.trigger(DATA, {"batch": day}) for day in days]
    assert [set(airflow.finished(DATA, run).values()) for run in runs] == [{"success"}] * len(days)
    wanted = [f"{stage} --project {PROJECT.name} --batch {day}" for stage in STAGES for day in days]
    assert commands(airflow, *days) == dict.fromkeys(wanted, 1)
    assert second.poll() is None
    airflow.stop(second)


@pytest.mark.fault("F05")
def test_a_run_whose_scheduler_was_killed_is_taken_to_its_end_by_the_next(impatient: Airflow) -> None:
    airflow, day = impatient, "2026-01-17"
    airflow.answers({})
    deliver(airflow, day, "day", 20)
    with airflow.real_stages("ingest", pause="manifest"):
        run = airflow.trigger(DATA, {"batch": day})
        stage = stopped_stage(airflow)
        os.kill(airflow.scheduler.pid, signal.SIGKILL)
        assert airflow.scheduler.wait(20) == -signal.SIGKILL
        killed, airflow.scheduler = airflow.scheduler, airflow.start(*SCHEDULER, **IMPATIENT)
        assert set(airflow.finished(DATA, run, 240).values()) == {"success"}
    with suppress(ProcessLookupError):
        os.kill(stage, signal.SIGCONT)
    airflow.until(lambda: not state(stage), 60)
    airflow.stop(killed)  # and the workers that it left
    wanted = {f"{stage} --project {PROJECT.name} --batch {day}": 1 for stage in STAGES}
    assert commands(airflow, day) == wanted | {f"ingest --project {PROJECT.name} --batch {day}": 2}
    assert (published(airflow, day).epoch, published(airflow, day).manifest.rows) == (1, 20)
    assert [state for _, state in attempts(airflow, run, "ingest")] == ["success"]


@pytest.mark.fault("F04")
def test_a_task_that_stood_still_and_goes_on_when_it_was_given_up_changes_nothing(impatient: Airflow) -> None:
    airflow, day = impatient, "2026-01-18"
    airflow.answers({})
    deliver(airflow, day, "day", 20)
    with airflow.real_stages("ingest", pause="manifest"):
        run = airflow.trigger(DATA, {"batch": day})
        stage = stopped_stage(airflow)
        still = [above(stage), above(above(stage))]  # the task, and what sends its heartbeats
        for one in still:
            os.kill(one, signal.SIGSTOP)
        deliver(airflow, day, "more", 5)
        assert set(airflow.finished(DATA, run, 240).values()) == {"success"}
    assert (published(airflow, day).epoch, published(airflow, day).manifest.rows) == (1, 25)
    before = attempts(airflow, run, "ingest")
    assert before == [(2, "success")]
    assert state(stage) == "T"
    os.kill(stage, signal.SIGCONT)
    airflow.until(lambda: not state(stage), 60)
    assert not list(published(airflow, day).partition.glob(".staging-*")), "it went on to where it was refused"
    for one in still:
        os.kill(one, signal.SIGCONT)
    assert (published(airflow, day).epoch, published(airflow, day).manifest.rows) == (1, 25)
    airflow.until(lambda: not state(still[0]), 60)
    assert attempts(airflow, run, "ingest") == before
    assert airflow.query("SELECT state FROM dag_run WHERE run_id = %s", run) == [("success",)]
