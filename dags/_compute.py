"""Where a stage's command runs: a process of this machine, an ECS task or an EMR Serverless job, by a setting a stage.

Each takes the same arguments, returns the command's exit code and the last line it wrote, and is ended with its task.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from airflow.providers.standard.hooks.subprocess import SubprocessHook

from jobs.settings import Settings

ROOT = Path(__file__).resolve().parents[1]


class Computer(Protocol):
    """Something that runs one command."""

    def run(self, arguments: Sequence[str], environment: Mapping[str, str], context: Any) -> tuple[int, str]:
        """The command's exit code and last line, once it has ended; its log is in the task's, or linked from it."""

    def stop(self) -> None:
        """Ends the command."""


class Here:
    """A process of this machine."""

    def __init__(self) -> None:
        self._process = SubprocessHook()

    def run(self, arguments: Sequence[str], environment: Mapping[str, str], context: Any) -> tuple[int, str]:
        """Starts it without a shell, in a process group of its own."""
        command = os.environ.get("TIDEMILL_COMMAND", str(ROOT / ".venv" / "jobs" / "bin" / "tidemill"))
        # Airflow's configuration holds its passwords, which are no business of a stage.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")}
        result = self._process.run_command([command, *arguments], env={**inherited, **environment}, cwd=str(ROOT))
        return result.exit_code, result.output

    def stop(self) -> None:
        """Ends the process group."""
        self._process.send_sigterm()  # type: ignore[no-untyped-call]


def place(stage: str, settings: Settings) -> str:
    """Where a stage runs: what is set for it, else for all, else here."""
    return settings.compute.get(stage) or settings.compute.get("*") or "local"


def of_project(value: str, arguments: Sequence[str]) -> str:
    """A setting with the project of a command where it says `{project}`: each project may have a place of its own."""
    named = dict(pairwise(arguments))
    return value.replace("{project}", named.get("--project", ""))


def computer(stage: str, task: Any) -> Computer:
    """What runs a stage's commands; raises SettingError naming every setting that is missing for it."""
    settings = Settings.load()
    where = place(stage, settings)
    if where == "local":
        return Here()
    if where == "emr":
        from _emr import Job

        return Job(settings, task)
    from _ecs import Task

    return Task(settings, task, large=where == "ecs-large")


@cache
def _settings() -> Settings:
    """Read once for all the tasks of a parsing."""
    return Settings.load()


def links(stage: str) -> tuple[Any, ...]:
    """The links to a stage's logs on AWS that Airflow's pages show beside its task."""
    where = place(stage, _settings())
    if where == "emr":
        from airflow.providers.amazon.aws.links.emr import EmrServerlessCloudWatchLogsLink

        return (EmrServerlessCloudWatchLogsLink(),)
    if where.startswith("ecs"):
        from airflow.providers.amazon.aws.links.logs import CloudWatchEventsLink

        return (CloudWatchEventsLink(),)
    return ()
