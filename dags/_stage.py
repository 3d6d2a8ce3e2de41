"""How a stage becomes a task: a `tidemill` command, here or on AWS, whose exit code says what happened."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import Any

from _compute import Computer, computer, links
from _conf import Conf, read
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import Asset, BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow.sdk.execution_time.context import context_to_airflow_vars

from jobs.spec import Project

DONE, USAGE, NOTHING = 0, 2, 99
KILLED = (-9, 137)
MINUTES = {"ingest": 60, "etl": 120, "features": 120, "train": 360, "evaluate": 60}
"""How long a stage may take before it is killed, where half an hour is not enough."""
FINDINGS = ("validate", "gate", "register", "replay")
"""Stages whose failure is an answer: asking again would give the same one."""

Values = Mapping[str, str | bool | None]


def batch(conf: Any, context: Any) -> Values:
    """The batch that was asked for, else the day of the data interval, else the last day that was over."""
    start = context.get("data_interval_start")
    day = start.date() if start else context["dag_run"].run_after.date() - timedelta(days=1)
    return {"batch": conf.batch or str(day)}


def run(conf: Any, context: Any) -> Values:
    """A training's id: the Airflow run's own."""
    return {"run": context["run_id"]}


def chosen(conf: Any, context: Any) -> Values:
    """Every choice of the run, as an option of the same name."""
    return dict(conf)


class Stage(BaseOperator):
    """Runs one command; exit 99 is a skip, which emits no asset event, and 2 (usage) is not retried."""

    ui_color = "#d8ecf3"

    def __init__(
        self,
        *,
        command: str,
        project: Project,
        conf: type[Conf],
        options: Mapping[str, str],
        given: tuple[Callable[[Any, Any], Values], ...],
        **rest: Any,
    ) -> None:
        super().__init__(**rest)
        self.command, self.project, self.conf, self.fixed, self.given = command, project.name, conf, options, given
        self.operator_extra_links = (*self.operator_extra_links, *links(command.split(maxsplit=1)[0]))

    def execute(self, context: Any) -> None:
        """Runs the command; raises what Airflow makes a skip or a failure of."""
        code, _ = self.start(context)
        if code == NOTHING:
            raise AirflowSkipException("nothing to do; see the line above")
        self.fail_unless_done(code)

    def start(self, context: Any, *more: str) -> tuple[int, str]:
        """The command's exit code and the last line it wrote."""
        conf = read(self.conf, context)
        values: dict[str, Any] = {"project": self.project, **self.fixed}
        for given in self.given:
            values |= given(conf, context)
        arguments = [*self.command.split(), *flags(values), *more]
        self.log.info("the same by hand: tidemill %s", shlex.join(arguments))
        return self.computer.run(arguments, context_to_airflow_vars(context, in_env_var_format=True), context)

    def fail_unless_done(self, code: int) -> None:
        """Raises AirflowFailException for a usage error and AirflowException for any other failure."""
        if code == USAGE:
            raise AirflowFailException(f"`tidemill {self.command}` refused its arguments; see the line above")
        if code in KILLED:
            raise AirflowException(
                f"`tidemill {self.command}` was killed (exit code {code}), as the kernel does when memory runs out: run "
                "fewer tasks at once (the pools), or this stage on a larger machine (TIDEMILL_COMPUTE)"
            )
        if code != DONE:
            raise AirflowException(f"`tidemill {self.command}` ended with exit code {code}; see the line above")

    @cached_property
    def computer(self) -> Computer:
        """What runs the command: this machine, or AWS where TIDEMILL_COMPUTE says so for the stage."""
        return computer(self.command.split()[0], self)

    def on_kill(self) -> None:
        """Ends the command when the task is ended or takes too long."""
        self.computer.stop()


class Rollout(Stage):
    """A stage that may hold: it is asked again after a while, and between two questions occupies no worker."""

    def execute(self, context: Any, event: Any = None) -> None:
        """Runs the command, and again when a deferral is over; a rolled-back release is not tried again."""
        code, line = self.start(context, "--json")
        facts = facts_of(line)
        if code == NOTHING and facts.get("wait_seconds"):
            wait = timedelta(seconds=max(1, float(facts["wait_seconds"])))
            self.defer(trigger=TimeDeltaTrigger(wait), method_name="execute")
        if code == NOTHING:
            raise AirflowSkipException(f"nothing to do: {facts.get('reason', line)}")
        if code != DONE and facts:
            raise AirflowFailException(f"rolled back: {facts.get('reason', line)}")
        self.fail_unless_done(code)


def flags(values: Values) -> list[str]:
    """The command line's options: a name for what is true, name and value for a text, nothing for what is empty."""
    named = [(f"--{name.replace('_', '-')}", value) for name, value in values.items()]
    return [part for flag, value in named if value for part in ([flag] if value is True else [flag, str(value)])]


def facts_of(line: str) -> dict[str, Any]:
    """The JSON object that a line holds, or an empty one."""
    try:
        facts = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return facts if isinstance(facts, dict) else {}


def defaults(project: Project, kind: str) -> dict[str, str]:
    """What all tasks of a DAG have: an owner, the kind's pool, and that a run that was begun is finished first.

    The pools are the machine's (`jobs/services/airflow.py`): projects share them, so that one's backfill or training
    never takes the place of another's rollout.
    """
    return {"owner": project.owner, "pool": kind, "weight_rule": "upstream"}


def stage(
    command: str,
    project: Project,
    conf: type[Conf],
    *given: Callable[[Any, Any], Values],
    task_id: str | None = None,
    operator: type[Stage] = Stage,
    outlets: Sequence[Asset] = (),
    trigger_rule: str = "all_success",
    **options: str,
) -> Stage:
    """The task that runs `tidemill <command>` with these options, one at a time, with the limits of its stage."""
    return operator(
        task_id=task_id or command.replace(" ", "_").replace("-", "_"),
        command=command,
        project=project,
        conf=conf,
        options=options,
        given=given,
        retries=0 if command in FINDINGS else 2,
        retry_delay=timedelta(seconds=10),
        execution_timeout=timedelta(minutes=MINUTES.get(command, 30)),
        max_active_tis_per_dag=1,
        outlets=outlets,
        trigger_rule=trigger_rule,
    )
