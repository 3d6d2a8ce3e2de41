"""A stage's command as an ECS task: its log lines in Airflow's, its exit code carried through, stopped with its task."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from _compute import of_project
from airflow.providers.amazon.aws.hooks.ecs import EcsHook
from airflow.providers.amazon.aws.links.logs import CloudWatchEventsLink
from airflow.providers.amazon.aws.utils.task_log_fetcher import AwsTaskLogFetcher
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from jobs.settings import Settings, region

CONTAINER, PREFIX = "jobs", "tidemill"
"""The container of the task definitions that Terraform makes, and the prefix of its log streams."""
_LOOK_SECONDS, _LOOKS = 6, 100_000  # how long a stage may take is Airflow's execution_timeout
_REFUSED = ("AccessDeniedException", "ClientException", "ClusterNotFoundException", "InvalidParameterException")
log = logging.getLogger("airflow.task")


class Task:
    """One ECS task; an attempt whose worker died is taken up again where it still runs."""

    def __init__(self, settings: Settings, task: Any, *, large: bool) -> None:
        self._settings, self._task = settings, task
        self._definition = settings.need("ecs_task_large" if large else "ecs_task")
        self._group = settings.need("ecs_log_group")
        self._cluster = settings.need("ecs_cluster")
        self._hook = EcsHook(aws_conn_id=None, region_name=region())
        self._arn: str | None = None

    def run(self, arguments: Sequence[str], environment: Mapping[str, str], context: Any) -> tuple[int, str]:
        """Raises AirflowFailException for what no repetition helps, and AirflowException for what one may."""
        self._definition, self._group = (of_project(one, arguments) for one in (self._definition, self._group))
        try:
            self._arn = self._running(context) or self._start(arguments, environment, context)
        except ClientError as error:
            code, said = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
            problem = AirflowFailException if code in _REFUSED else AirflowException
            raise problem(
                f"ECS refused to start {self._definition} on {self._cluster} ({code}: {said}); nothing ran. Look at "
                "TIDEMILL_ECS_* and at what Airflow's role may do (ecs:RunTask, iam:PassRole)"
            ) from None
        except NoCredentialsError:
            raise AirflowFailException(
                f"no AWS credentials to start {self._definition} on {self._cluster}; nothing ran. Run Airflow with a role, "
                "or set AWS_PROFILE; `aws sts get-caller-identity` shows which"
            ) from None
        except BotoCoreError as error:
            raise AirflowException(f"ECS did not answer: {error}; nothing ran") from None
        stream = f"{PREFIX}/{CONTAINER}/{self._arn.rpartition('/')[2]}"
        self._link(context, stream)
        lines = AwsTaskLogFetcher(
            aws_conn_id=None, region_name=self._hook.region_name, log_group=self._group,
            log_stream_name=stream, fetch_interval=timedelta(seconds=_LOOK_SECONDS), logger=log,  # type: ignore[arg-type]
        )  # fmt: skip
        lines.start()
        try:
            waiter = self._hook.conn.get_waiter("tasks_stopped")
            looks = {"Delay": _LOOK_SECONDS, "MaxAttempts": _LOOKS}
            waiter.wait(cluster=self._cluster, tasks=[self._arn], WaiterConfig=looks)
        finally:
            lines.stop()  # type: ignore[no-untyped-call]
        lines.join()
        return self._code(), str(lines.get_last_log_message() or "")

    def _started_by(self, context: Any) -> str:
        """Which attempts are of one task: ECS finds what it runs by this name of at most 36 characters."""
        one = context["ti"]
        key = f"{one.dag_id}/{one.task_id}/{one.run_id}/{one.map_index}"
        return hashlib.sha256(key.encode()).hexdigest()[:36]

    def _running(self, context: Any) -> str | None:
        found = self._hook.conn.list_tasks(
            cluster=self._cluster, desiredStatus="RUNNING", startedBy=self._started_by(context)
        )["taskArns"]
        if found:
            log.info("an earlier attempt's task still runs and is taken up: %s", found[0])
        return found[0] if found else None

    def _start(self, arguments: Sequence[str], environment: Mapping[str, str], context: Any) -> str:
        settings = self._settings
        variables = [{"name": name, "value": value} for name, value in sorted(environment.items())]
        answer = self._hook.conn.run_task(
            cluster=self._cluster,
            taskDefinition=self._definition,
            capacityProviderStrategy=[{"capacityProvider": settings.ecs_capacity_provider, "weight": 1}],
            startedBy=self._started_by(context),
            networkConfiguration={
                "awsvpcConfiguration": {
                    "subnets": settings.need("ecs_subnets").split(","),
                    "securityGroups": settings.need("ecs_security_groups").split(","),
                    "assignPublicIp": "DISABLED",
                }
            },
            overrides={
                "containerOverrides": [{"name": CONTAINER, "command": list(arguments), "environment": variables}]
            },
            propagateTags="TASK_DEFINITION",
        )
        if answer["failures"]:
            reasons = ", ".join(sorted({str(one.get("reason")) for one in answer["failures"]}))
            raise AirflowException(f"ECS has no room for {self._definition} now ({reasons}); nothing ran")
        return str(answer["tasks"][0]["taskArn"])

    def _code(self) -> int:
        """The command's exit code; raises AirflowException when ECS ended the task, and not the command itself."""
        (task,) = self._hook.conn.describe_tasks(cluster=self._cluster, tasks=[self._arn])["tasks"]
        container: dict[str, Any] = next((one for one in task["containers"] if one["name"] == CONTAINER), {})
        code = container.get("exitCode")
        if code is None or task.get("stopCode") in ("SpotInterruption", "TerminationNotice", "TaskFailedToStart"):
            why = task.get("stoppedReason") or container.get("reason") or "no reason given"
            raise AirflowException(
                f"ECS stopped the task ({task.get('stopCode', 'no code')}: {why}); nothing of it was published, and the "
                "next attempt begins anew"
            )
        return int(code)

    def _link(self, context: Any, stream: str) -> None:
        CloudWatchEventsLink.persist(
            context=context, operator=self._task, region_name=self._hook.conn_region_name,
            aws_partition=self._hook.conn_partition, awslogs_region=self._hook.conn_region_name,
            awslogs_group=self._group, awslogs_stream_name=stream,
        )  # fmt: skip

    def stop(self) -> None:
        """Stops the ECS task: the command is sent SIGTERM."""
        if self._arn:
            self._hook.conn.stop_task(cluster=self._cluster, task=self._arn, reason="ended by Airflow")
