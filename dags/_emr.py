"""A stage's command as an EMR Serverless job: `jobs/emr.py` runs it and leaves its exit code and last line on S3."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from _compute import of_project
from airflow.providers.amazon.aws.hooks.emr import EmrServerlessHook
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.amazon.aws.links.emr import EmrServerlessCloudWatchLogsLink
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from jobs.settings import Settings, region

LOGS = "/tidemill/emr"
"""The CloudWatch group that driver and executors write to."""
_LOOK_SECONDS = 10.0
_PLAIN = re.compile(r"[\w.:+@/-]+\Z")
"""What cannot be taken for another option where EMR splits them at spaces; whatever else Airflow says is left out."""
_REFUSED = ("AccessDeniedException", "ValidationException", "ResourceNotFoundException")
log = logging.getLogger("airflow.task")


class Job:
    """One job run; an attempt's token makes starting it twice the same as once."""

    def __init__(self, settings: Settings, task: Any) -> None:
        self._settings, self._task = settings, task
        self._application = settings.need("emr_application")
        self._hook = EmrServerlessHook(aws_conn_id=None, region_name=region())
        self._id: str | None = None

    def run(self, arguments: Sequence[str], environment: Mapping[str, str], context: Any) -> tuple[int, str]:
        """Raises AirflowFailException for what no repetition helps, and AirflowException for what one may."""
        one = context["ti"]
        key = f"{one.dag_id}/{one.task_id}/{one.run_id}/{one.map_index}/{one.try_number}"
        token = hashlib.sha256(key.encode()).hexdigest()[:32]
        answer = f"{self._settings.lake_uri.rstrip('/')}/answers/{token}.json"
        try:
            self._id = self._start(arguments, environment, token, answer, f"{one.dag_id}.{one.task_id}")
            self._link(context)
            job = self._ended()
        except ClientError as error:
            code, said = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
            problem = AirflowFailException if code in _REFUSED else AirflowException
            raise problem(
                f"EMR refused a job on {self._application} ({code}: {said}); nothing ran. Look at TIDEMILL_EMR_* and at "
                "what Airflow's role may do (emr-serverless:StartJobRun, iam:PassRole)"
            ) from None
        except NoCredentialsError:
            raise AirflowFailException(
                f"no AWS credentials to start a job on {self._application}; nothing ran. Run Airflow with a role, or set "
                "AWS_PROFILE; `aws sts get-caller-identity` shows which"
            ) from None
        except BotoCoreError as error:
            raise AirflowException(f"EMR did not answer: {error}") from None
        return self._answer(answer, job)

    def _start(
        self, arguments: Sequence[str], environment: Mapping[str, str], token: str, answer: str, name: str
    ) -> str:
        settings = self._settings
        plain = {name: value for name, value in environment.items() if _PLAIN.match(value)}
        variables = {
            **plain, "TIDEMILL_LAKE_URI": settings.lake_uri, "TIDEMILL_SPARK_FILES": "s3", "TIDEMILL_SPARK_MASTER": "",
            "TIDEMILL_HOME": "/tmp/tidemill",  # noqa: S108 a driver's own disk
        }  # fmt: skip
        if settings.lake_kms_key:
            variables["TIDEMILL_LAKE_KMS_KEY"] = settings.lake_kms_key
        passed = " ".join(
            f"--conf spark.emr-serverless.driverEnv.{name}={value}" for name, value in sorted(variables.items())
        )
        started = self._hook.conn.start_job_run(
            applicationId=self._application,
            clientToken=token,
            executionRoleArn=of_project(settings.need("emr_role"), arguments),
            name=name[:256],
            jobDriver={
                "sparkSubmit": {
                    "entryPoint": settings.need("emr_entry_point"),
                    "entryPointArguments": [answer, *arguments],
                    "sparkSubmitParameters": f"{settings.emr_spark_parameters} {passed}".strip(),
                }
            },
            configurationOverrides={
                "monitoringConfiguration": {"cloudWatchLoggingConfiguration": {"enabled": True, "logGroupName": LOGS}}
            },
        )
        log.info(
            "EMR Serverless job %s of %s; its log is linked from this task", started["jobRunId"], self._application
        )
        return str(started["jobRunId"])

    def _ended(self) -> dict[str, Any]:
        while True:  # for as long as Airflow's execution_timeout lets it
            job: dict[str, Any] = self._hook.conn.get_job_run(applicationId=self._application, jobRunId=self._id)[
                "jobRun"
            ]
            if job["state"] in EmrServerlessHook.JOB_TERMINAL_STATES:
                return job
            time.sleep(_LOOK_SECONDS)

    def _answer(self, answer: str, job: Mapping[str, Any]) -> tuple[int, str]:
        """What the command left; raises AirflowException when the job ended without the command having done so."""
        bucket, _, key = answer.removeprefix("s3://").partition("/")
        store = S3Hook(aws_conn_id=None, region_name=region())
        if not store.check_for_key(key, bucket):
            raise AirflowException(
                f"EMR ended the job ({job['state']}: {job.get('stateDetails') or 'no reason given'}) before its command "
                "did; nothing of it was published, and the next attempt begins anew"
            )
        found = json.loads(store.read_key(key, bucket))
        log.info("%s", found["line"])
        return int(found["code"]), str(found["line"])

    def _link(self, context: Any) -> None:
        EmrServerlessCloudWatchLogsLink.persist(
            context=context, operator=self._task, region_name=self._hook.conn_region_name,
            aws_partition=self._hook.conn_partition, awslogs_group=LOGS,
            stream_prefix=f"/applications/{self._application}/jobs/{self._id}",
        )  # fmt: skip

    def stop(self) -> None:
        """Cancels the job."""
        if self._id:
            self._hook.conn.cancel_job_run(applicationId=self._application, jobRunId=self._id)
