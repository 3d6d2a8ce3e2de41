"""How Airflow is configured on one machine: by environment variables, all of them here."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from jobs.errors import SettingError
from jobs.services import credentials, places
from jobs.services.ports import LOOPBACK, listen, port, url
from jobs.settings import ROOT, Settings

POOLS = {
    "data": (2, "Ingest to features: a project's backfill takes one run at a time, and leaves the other slot."),
    "training": (1, "Snapshot to register, which takes hours: one after another, whichever project's."),
    "rollout": (4, "Steps that decide about live traffic: seconds each, and nothing longer is in their way."),
    "monitoring": (1, "Labels, drift, performance and replay: one after another."),
}
"""How many tasks of each kind of DAG run at once on one machine, over all projects, and why."""


def environment(settings: Settings, database_url: str | None = None) -> dict[str, str]:
    """Everything Airflow's own commands need set; writes the file with the log-in of its web pages.

    The metadata database is the embedded one unless another URL is given.
    """
    home = places.home(settings)
    known = credentials.ensure(settings)
    passwords = home / "airflow" / "passwords.json"
    places.write_private(passwords, json.dumps({"admin": known.airflow}))
    configuration = {
        "CORE__DAGS_FOLDER": ROOT / "dags",
        "CORE__LOAD_EXAMPLES": False,
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": sum(slots for slots, _ in POOLS.values()),
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
        "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": passwords,
        "CORE__FERNET_KEY": known.airflow_fernet,
        "CORE__EXECUTION_API_SERVER_URL": url(settings, "airflow") + "/execution/",
        "CORE__HOSTNAME_CALLABLE": "socket.gethostname",
        "CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": 5,
        "CORE__KILLED_TASK_CLEANUP_TIME": 10,
        "DATABASE__SQL_ALCHEMY_CONN": database_url or credentials.database_url(settings, "airflow", _SYNC),
        "DATABASE__SQL_ALCHEMY_POOL_SIZE": 5,
        "API__HOST": listen(settings),
        "API__PORT": port(settings, "airflow"),
        "API__WORKERS": 1,
        # As a browser has it: containers publish this port on loopback too.
        "API__BASE_URL": f"http://{LOOPBACK}:{port(settings, 'airflow')}",
        "API__SECRET_KEY": known.airflow_session,
        "API_AUTH__JWT_SECRET": known.airflow_jwt,
        "API_AUTH__JWT_ISSUER": "tidemill",
        "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": 1,
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0.5,
        "SCHEDULER__JOB_HEARTBEAT_SEC": 5,
        # What a killed scheduler left running or queued is begun again within two minutes, and not after five.
        "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": 30,
        "SCHEDULER__ENABLE_HEALTH_CHECK": False,
        "SCHEDULER__CATCHUP_BY_DEFAULT": False,
        "TRIGGERER__CAPACITY": 100,
        "DAG_PROCESSOR__REFRESH_INTERVAL": 30,
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 30,
        "DAG_PROCESSOR__PARSING_PROCESSES": 1,
        "DAG_PROCESSOR__PRINT_STATS_INTERVAL": 0,
        "LOGGING__BASE_LOG_FOLDER": home / "airflow" / "logs",
        "LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": home / "airflow" / "logs" / "dag_processor",
        "LOGGING__COLORED_CONSOLE_LOG": False,
    }
    return {
        "AIRFLOW_HOME": str(home / "airflow"),
        "PYTHONPATH": str(ROOT),
        # Otherwise a process title overwrites the environment by which `tidemill down` knows its own.
        "SPT_NOENV": "1",
        "TIDEMILL_HOME": str(home),
        "TIDEMILL_COMMAND": str(ROOT / ".venv" / "jobs" / "bin" / "tidemill"),
    } | {f"AIRFLOW__{name}": str(value) for name, value in configuration.items()}


def pools_file(settings: Settings) -> Path:
    """The file of `POOLS` that `airflow pools import` reads; written anew when they changed."""
    path = places.home(settings) / "airflow" / "pools.json"
    pools = {name: {"slots": slots, "description": why} for name, (slots, why) in POOLS.items()}
    places.write_private(path, json.dumps(pools))
    return path


_SYNC = "postgresql+psycopg2"


def command_line(settings: Settings, arguments: Sequence[str]) -> NoReturn:
    """Becomes `airflow` with these arguments; raises SettingError when its environment has not been made."""
    program = ROOT / ".venv" / "orchestrate" / "bin" / "airflow"
    if not program.exists():
        raise SettingError(f"there is no {program.relative_to(ROOT)}; make it with `make environments`")
    os.execve(program, [str(program), *arguments], os.environ | environment(settings))
