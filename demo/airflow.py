"""A small client of Airflow's REST API: start a DAG run, follow it, say what became of its tasks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from jobs.errors import ServiceError
from jobs.settings import Settings

ENDED = {"success", "failed"}


@dataclass(frozen=True)
class Run:
    """A DAG run that ended: its state, and the state of each of its tasks."""

    dag: str
    id: str
    state: str
    tasks: dict[str, str]

    @property
    def failed_tasks(self) -> list[str]:
        return sorted(task for task, state in self.tasks.items() if state == "failed")


class Airflow:
    """Airflow's API with the credentials of this installation."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = httpx.Client(base_url=settings.airflow_url, timeout=30)
        self._log_in()

    def _log_in(self) -> None:
        body = {"username": self._settings.airflow_username, "password": self._settings.need("airflow_password")}
        answer = self._client.post("/auth/token", json=body)
        answer.raise_for_status()
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def _call(self, method: str, path: str, **options: Any) -> httpx.Response:
        for patience in (1, 2, 4, 8, 0):
            try:
                answer = self._client.request(method, f"/api/v2{path}", **options)
            except httpx.TransportError as error:
                if not patience:
                    raise ServiceError(f"Airflow at {self._settings.airflow_url} does not answer: {error}") from None
                time.sleep(patience)
                continue
            if answer.status_code == 401 and patience:
                self._log_in()
            elif answer.status_code >= 500 and patience:
                time.sleep(patience)
            else:
                break
        return answer

    def runs(self, dag: str) -> list[dict[str, Any]]:
        """The DAG's runs, newest first, as the API describes them."""
        answer = self._call("GET", f"/dags/{dag}/dagRuns", params={"order_by": "-run_after", "limit": 100})
        answer.raise_for_status()
        runs: list[dict[str, Any]] = answer.json()["dag_runs"]
        return runs

    def trigger(self, dag: str, run_id: str, conf: dict[str, Any]) -> str:
        """Starts a run of that id, or finds the one there is; a failed one gets a successor. Returns the id to follow."""
        known = {run["dag_run_id"]: run["state"] for run in self.runs(dag)}
        attempt = run_id
        for number in range(2, 100):
            if known.get(attempt) != "failed":
                break
            attempt = f"{run_id}-{number}"
        if attempt in known:
            return attempt
        body = {"dag_run_id": attempt, "logical_date": None, "conf": conf}
        answer = self._call("POST", f"/dags/{dag}/dagRuns", json=body)
        if answer.status_code not in (200, 201, 409):
            raise ServiceError(f"Airflow refused to start {dag} {attempt}: {answer.text[:500]}")
        return attempt

    def tasks(self, dag: str, run_id: str) -> dict[str, str]:
        """The state of each task of a run, by task id, in the order they started."""
        answer = self._call("GET", f"/dags/{dag}/dagRuns/{run_id}/taskInstances", params={"limit": 100})
        answer.raise_for_status()
        found = sorted(answer.json()["task_instances"], key=lambda task: task["start_date"] or "9")
        return {task["task_id"]: task["state"] or "waiting" for task in found}

    def follow(self, dag: str, run_id: str, say: Callable[[str], None], seconds: float = 1_800) -> Run:
        """The run once it has ended, saying what it is at meanwhile; raises ServiceError at the deadline."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            answer = self._call("GET", f"/dags/{dag}/dagRuns/{run_id}")
            answer.raise_for_status()
            state, tasks = answer.json()["state"], self.tasks(dag, run_id)
            if state in ENDED:
                return Run(dag, run_id, state, tasks)
            busy = [task for task, at in tasks.items() if at in ("running", "deferred", "queued", "up_for_retry")]
            say(f"{dag}: {', '.join(busy) or state}")
            time.sleep(1)
        raise ServiceError(f"{dag} {run_id} did not end within {seconds:.0f} s; see {self._settings.airflow_url}")

    def newest(self, dag: str, run_type: str, after: str, seconds: float = 60) -> str:
        """The id of the first run of that type that came after an ISO time; waits for it to appear."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = [run for run in self.runs(dag) if run["run_type"] == run_type and run["run_after"] > after]
            if found:
                return str(found[-1]["dag_run_id"])
            time.sleep(1)
        raise ServiceError(f"no {run_type} run of {dag} appeared within {seconds:.0f} s")

    def wait_for_dags(self, dags: set[str], seconds: float = 120) -> None:
        """Returns once all those DAGs are parsed; raises ServiceError naming those that are not."""
        deadline = time.monotonic() + seconds
        missing = dags
        while time.monotonic() < deadline:
            answer = self._call("GET", "/dags", params={"limit": 100})
            answer.raise_for_status()
            missing = dags - {dag["dag_id"] for dag in answer.json()["dags"]}
            if not missing:
                return
            time.sleep(1)
        raise ServiceError(f"Airflow did not parse {', '.join(sorted(missing))}; run `airflow dags list-import-errors`")
