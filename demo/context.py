"""What the demo's steps share: Airflow, clients, the command line and the ledger, as a person would use them."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from demo.airflow import Airflow, Run
from demo.traffic import Live, events_of
from jobs.batch import Batches
from jobs.errors import TidemillError
from jobs.lake import Lake
from jobs.projects import find
from jobs.release.ledger import Ledger
from jobs.settings import ROOT, Settings
from jobs.spec import Project

SEED = 1
HISTORY = Batches.parse("2025-12-11..2026-02-19")
DAILY = Batches.parse("2026-02-20..2026-02-21")
CALM = Batches.parse("2026-02-22..2026-03-01")
WATCHED = 2
"""On how many of the calm days clients ask and the replay looks; on the others no one asks."""
SHIFTED = Batches.parse("2026-03-02..2026-04-05")
NEXT = Batches.parse("2026-04-06")
"""The day after everything ingested: where live clients begin, so that their features are there to look up."""


class DemoFailed(TidemillError):
    """A step whose outcome is not what the demo is there to show."""


@dataclass
class Context:
    """What steps share."""

    settings: Settings
    project: Project
    say: Callable[[str], None]

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake_uri)

    @cached_property
    def airflow(self) -> Airflow:
        return Airflow(self.settings)

    @property
    def predict(self) -> str:
        return f"/{self.project.name}/predict"

    def ledger(self) -> Ledger:
        return Ledger(self.settings.need("database_url"))

    def dag(self, name: str) -> str:
        return f"{self.project.name}_{name}"

    def run(self, dag: str, run_id: str, conf: dict[str, Any]) -> Run:
        """Has Airflow run a DAG with that conf and waits for its end."""
        dag = self.dag(dag)
        return self.airflow.follow(dag, self.airflow.trigger(dag, run_id, conf), self.say)

    def succeed(self, dag: str, run_id: str, conf: dict[str, Any]) -> Run:
        """The same, and the run must have succeeded."""
        return succeeded(self.run(dag, run_id, conf), self.settings)

    @property
    def folder(self) -> Path:
        """What the demo of this project keeps: its diary, what was delivered, its summary."""
        return self.settings.home / "demo" / self.project.name

    def events(self, days: Batches, drift_from: date | None = None) -> list[dict[str, Any]]:
        """The events that clients ask about on those days."""
        return [event for day in days for event in events_of(self.project, day, SEED, drift_from)]

    def live(self) -> Live:
        """Clients that keep sending in the background, each event once; the next go on where these stop."""
        return Live(self.settings, self.project, self._upcoming)

    @cached_property
    def _upcoming(self) -> Iterator[dict[str, Any]]:
        """Events of the days that no earlier demo of this home has begun: time does not go back for live features."""
        begun = self.folder / "begun"
        first = date.fromisoformat(begun.read_text()) + timedelta(days=1) if begun.exists() else NEXT.first
        for day in (first + timedelta(days=number) for number in itertools.count()):
            begun.write_text(day.isoformat())
            yield from self.events(Batches(day, day), SHIFTED.first)

    def tidemill(self, *arguments: str) -> dict[str, Any]:
        """Runs the command line as a person would and returns its JSON."""
        answer: dict[str, Any] = json.loads(self.command(*arguments, "--json"))
        return answer

    def command(self, *arguments: str) -> str:
        """What a command wrote; raises DemoFailed with its last words when it exits with anything but 0."""
        command = [str(ROOT / ".venv/jobs/bin/tidemill"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise DemoFailed(f"`{' '.join(command)}` exited {done.returncode}: {done.stderr.strip()[-800:]}")
        return done.stdout


def succeeded(run: Run, settings: Settings) -> Run:
    """The run, if it succeeded; raises DemoFailed naming the tasks that did not and where their logs are."""
    if run.state != "success":
        raise DemoFailed(
            f"{run.dag} {run.id} failed at {', '.join(run.failed_tasks)}; "
            f"its log is at {settings.airflow_url}/dags/{run.dag}/runs/{run.id}"
        )
    return run


def context_of(project: str, say: Callable[[str], None]) -> Context:
    """A fresh context for a project's demo; raises UsageError for a name that no project has."""
    return Context(settings=Settings.load(), project=find(project), say=say)
