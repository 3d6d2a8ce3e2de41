"""A real Airflow for tests: its own database, scheduler, dag processor, triggerer and api server, on loopback."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from jobs.projects import NAMES
from jobs.services import airflow
from jobs.services.databases import end_idle_transactions
from jobs.services.ports import url
from jobs.settings import ROOT, Settings

ORCHESTRATE = ROOT / ".venv" / "orchestrate" / "bin"
PARTS = (["api-server"], ["scheduler", "--skip-serve-logs"], ["dag-processor"], ["triggerer", "--skip-serve-logs"])
ASKING = Path(__file__).parent / "asking"
"""On Python's path it adds a project of that name, which asks a person before it registers."""
SHORT = Path(__file__).parent / "short"
"""DAGs of these tests, of the same stages with less time."""
RECORDER = f"""#!{sys.executable}
# Writes down how it was called, then answers as the test laid down for this command, or runs the real one.
import json, os, pathlib, subprocess, sys, time
here = pathlib.Path(__file__).parent
with (here / "calls.jsonl").open("a") as calls:
    call = {{"arguments": sys.argv[1:], "environment": dict(os.environ), "pid": os.getpid()}}
    calls.write(json.dumps(call) + "\\n")
if (here / "real").exists() and sys.argv[1] in ((here / "real").read_text() or sys.argv[1]).split():
    try:
        (here / "pause").rename(here / "paused")
        os.environ["TIDEMILL_FAULT_PAUSE"] = (here / "paused").read_text()
    except FileNotFoundError:
        pass
    os.execv({str(ROOT / ".venv" / "jobs" / "bin" / "tidemill")!r}, ["tidemill", *sys.argv[1:]])
answers = json.loads((here / "answers.json").read_text())
left = answers.get(" ".join(sys.argv[1:3]), answers.get(sys.argv[1], []))
code, line = left.pop(0) if left else (0, "done")
(here / "answers.json").write_text(json.dumps(answers))
print(line, flush=True)
if code == "hang":
    subprocess.Popen(["sleep", "600"])
    time.sleep(600)
if code == "killed":
    os.kill(os.getpid(), 9)
sys.exit(code)
"""


class Airflow:
    """Starts everything on entry and stops it on exit."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        self.settings, self.folder = settings, Path(settings.home)
        name = f"airflow_{secrets.token_hex(4)}"
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
            end_idle_transactions(connection, name)
        own = database_url.replace("/postgres?", f"/{name}?").replace("postgresql://", "postgresql+psycopg2://")
        self.database_url = own.replace("+psycopg2", "")
        self.command = self.folder / "tidemill"
        self.command.write_text(RECORDER)
        self.command.chmod(0o755)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "TIDEMILL_"))},
            **airflow.environment(settings, own),
            "TIDEMILL_COMMAND": str(self.command),
            "TIDEMILL_LAKE_URI": settings.lake_uri,
            "PYTHONPATH": os.pathsep.join(map(str, [ASKING, ROOT, ROOT / "dags"])),
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(
                [
                    {
                        "name": name,
                        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                        "kwargs": {"path": str(path)},
                    }
                    for name, path in (("dags-folder", ROOT / "dags"), ("short", SHORT))
                ]
            ),
            "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "3",
        }
        self.processes: list[subprocess.Popen[bytes]] = []
        self.scheduler: subprocess.Popen[bytes]

    def __enter__(self) -> Airflow:
        self.answers({})
        self.run("db", "migrate")
        self.run("pools", "import", str(airflow.pools_file(self.settings)))
        for part in PARTS:
            started = self.start(*part)
            if part[0] == "scheduler":
                self.scheduler = started
        self.until(lambda: len(self.query("SELECT dag_id FROM dag WHERE NOT is_stale")) >= 4 * len(NAMES) + 5, 120)
        self.until(lambda: self.query("SELECT 1 FROM job WHERE job_type = 'TriggererJob' AND state = 'running'"), 120)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(*self.processes)

    def start(self, *part: str, **more: str) -> subprocess.Popen[bytes]:
        """Another of Airflow's processes, with more in its environment."""
        with (self.folder / f"{part[0]}.log").open("ab") as log:
            started = subprocess.Popen(
                [ORCHESTRATE / "airflow", *part],
                env=self.environment | more,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(started)
        return started

    def stop(self, *processes: subprocess.Popen[bytes]) -> None:
        """Ends them with what they started, and waits for it."""
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(8)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.processes = [one for one in self.processes if one not in processes]

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Airflow's own command line."""
        return subprocess.run(
            [ORCHESTRATE / "airflow", *arguments],
            env=self.environment, capture_output=True, text=True, check=check, timeout=180,
        )  # fmt: skip

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        try:
            with psycopg.connect(self.database_url) as connection:
                return connection.execute(sql, values).fetchall()  # type: ignore[arg-type]
        except psycopg.errors.UndefinedTable:
            return []

    def until(self, done: Callable[[], Any], seconds: float) -> Any:
        """What `done` answers once that is true; fails when it is not in time."""
        end = time.monotonic() + seconds
        while not (answer := done()):
            assert time.monotonic() < end, f"not within {seconds} s; see the logs in {self.folder}"
            time.sleep(0.5)
        return answer

    def answers(self, answers: dict[str, list[tuple[int | str, str]]]) -> None:
        """What the command answers, call by call, instead of doing anything, with "hang" never, with "killed" by a kill -9; "done" for ever after."""
        (self.folder / "answers.json").write_text(json.dumps(answers))
        (self.folder / "calls.jsonl").write_text("")

    @contextmanager
    def real_stages(self, *names: str, pause: str = "") -> Iterator[None]:
        """Lets the command do what it says, meanwhile: every stage or those named; the first one stops at a phase."""
        switch = self.folder / "real"
        if pause:
            (self.folder / "pause").write_text(pause)
        switch.write_text(" ".join(names))
        yield
        switch.unlink()

    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "calls.jsonl").read_text().splitlines()]

    def commands(self) -> list[str]:
        """Every command line since the answers were laid down."""
        return [" ".join(call["arguments"]) for call in self.calls()]

    def post(self, path: str, body: dict[str, Any], method: str = "POST") -> tuple[int, Any]:
        """The answer of Airflow's REST API."""
        import httpx

        base = url(self.settings, "airflow")
        password = json.loads(Path(self.environment["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]).read_text())
        token = self.until(lambda: self._token(base, password["admin"]), 60)
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.request(method, f"{base}/api/v2{path}", json=body, headers=headers, timeout=30)
        return answer.status_code, answer.json()

    @staticmethod
    def _token(base: str, password: str) -> str | None:
        import httpx

        try:
            answer = httpx.post(f"{base}/auth/token", json={"username": "admin", "password": password}, timeout=10)
        except httpx.TransportError:
            return None
        return str(answer.json()["access_token"]) if answer.is_success else None

    def trigger(self, dag: str, conf: dict[str, Any] | None = None, run: str | None = None) -> str:
        """Starts a run by the REST API, and returns its id."""
        body: dict[str, Any] = {"logical_date": None, "conf": conf or {}}
        code, answer = self.post(f"/dags/{dag}/dagRuns", body | ({"dag_run_id": run} if run else {}))
        assert code == 200, answer
        return str(answer["dag_run_id"])

    def finished(self, dag: str, run: str, seconds: float = 120) -> dict[str, str]:
        """The state of each task of a run, once the run is over."""
        over = "SELECT state FROM dag_run WHERE dag_id = %s AND run_id = %s AND state IN ('success', 'failed')"
        self.until(lambda: self.query(over, dag, run), seconds)
        tasks = "SELECT task_id, state FROM task_instance WHERE dag_id = %s AND run_id = %s"
        return dict(self.query(tasks, dag, run))

    def log(self, dag: str, run: str, task: str) -> str:
        """Everything a task wrote, over all its attempts."""
        logs = self.folder / "airflow" / "logs" / f"dag_id={dag}" / f"run_id={run}" / f"task_id={task}"
        return "".join(path.read_text() for path in sorted(logs.rglob("*.log")))
