"""Stages on AWS: the requests that reach its API, what comes back, and what goes wrong there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import SettingError
from jobs.lake import MIRROR
from jobs.projects import PROJECTS
from jobs.settings import ROOT, Settings
from tests import buckets
from tests.buckets import client
from tests.dags.airflow_here import ORCHESTRATE
from tests.dags.conftest import parsed
from tests.proxies import Answer, Asked, between

pytestmark = pytest.mark.services
ARGUMENTS = ["etl", "--project", "fraud", "--batch", "2026-01-10"]
GROUP = "/tidemill/jobs"
ECS = {
    "TIDEMILL_ECS_CLUSTER": "tidemill", "TIDEMILL_ECS_TASK": "tidemill-small", "TIDEMILL_ECS_TASK_LARGE": "tidemill-{project}-large",
    "TIDEMILL_ECS_SECURITY_GROUPS": "sg-1", "TIDEMILL_ECS_LOG_GROUP": GROUP,
}  # fmt: skip
EMR = {
    "TIDEMILL_EMR_ROLE": "arn:aws:iam::123456789012:role/spark", "TIDEMILL_EMR_ENTRY_POINT": "s3://code/emr.py",
    "TIDEMILL_EMR_SPARK_PARAMETERS": "--archives s3://code/environment.tar.gz#environment",
}  # fmt: skip
Change = Callable[[Asked, Callable[[], Answer]], Answer]


@pytest.fixture
def lake_name(aws: str) -> str:
    return f"s3://{buckets.new_bucket()}/lake"


@pytest.fixture
def ecs(aws: str, lake_name: str) -> Iterator[dict[str, str]]:
    """The settings of a cluster that moto has, with both task definitions and a log group.

    What a test started is stopped after it: moto's tasks never end, and the next test would take them up.
    """
    service = client("ecs")
    service.create_cluster(clusterName="tidemill")
    for family in ("tidemill-small", "tidemill-fraud-large"):
        service.register_task_definition(
            family=family, networkMode="awsvpc", requiresCompatibilities=["FARGATE"], cpu="1024", memory="2048",
            containerDefinitions=[{"name": "jobs", "image": "tidemill/jobs", "memory": 2048}],
        )  # fmt: skip
    logs = client("logs")
    if not logs.describe_log_groups(logGroupNamePrefix=GROUP)["logGroups"]:
        logs.create_log_group(logGroupName=GROUP)
    subnet = client("ec2").describe_subnets()["Subnets"][0]["SubnetId"]
    yield ECS | {"TIDEMILL_LAKE_URI": lake_name, "TIDEMILL_ECS_SUBNETS": subnet}
    for task in service.list_tasks(cluster="tidemill", desiredStatus="RUNNING")["taskArns"]:
        service.stop_task(cluster="tidemill", task=task)


@pytest.fixture
def emr(aws: str, lake_name: str) -> dict[str, str]:
    application = client("emr-serverless").create_application(name="spark", releaseLabel="emr-7.9.0", type="SPARK")
    return EMR | {"TIDEMILL_LAKE_URI": lake_name, "TIDEMILL_EMR_APPLICATION": application["applicationId"]}


@dataclass
class Orchestrator:
    """A process of the orchestrate environment that answers what it is asked, a line at a time."""

    process: subprocess.Popen[str]

    def ask(self, settings: dict[str, str], **asked: Any) -> dict[str, Any]:
        """What it answers with these settings and this test's AWS."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL_")}
        line = json.dumps({"environment": environment | settings | {"PYTHONPATH": str(ROOT)}, **asked})
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def run(self, settings: dict[str, str], compute: dict[str, str], *then: str) -> dict[str, Any]:
        """What becomes of an `etl`."""
        settings = settings | {"TIDEMILL_COMPUTE": json.dumps(compute)}
        return self.ask(settings, stage="etl", arguments=ARGUMENTS, then=then)


@pytest.fixture(scope="module")
def orchestrator() -> Iterator[Orchestrator]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL_")}
    with subprocess.Popen(
        [ORCHESTRATE / "python", "tests/dags/compute.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=ROOT, env=environment | {"PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        yield Orchestrator(process)
        process.kill()


def ended(code: int | None, **task: str) -> Change:
    """An ECS whose container writes two lines and ends so; moto's never runs anything."""

    def change(asked: Asked, forward: Callable[[], Answer]) -> Answer:
        answer = forward()
        if asked.operation == "RunTask" and answer.status == 200:
            (one,) = answer.json["tasks"]
            stream = f"tidemill/jobs/{one['taskArn'].rpartition('/')[2]}"
            logs = client("logs")
            logs.create_log_stream(logGroupName=GROUP, logStreamName=stream)
            events = [
                {"timestamp": int(time.time() * 1_000) + at, "message": text} for at, text in enumerate(("began", "{}"))
            ]
            logs.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=events)
        if asked.operation == "DescribeTasks":
            found = answer.json
            for one in found["tasks"]:
                container = {"name": "jobs", "lastStatus": "STOPPED"} | ({} if code is None else {"exitCode": code})
                one |= {"lastStatus": "STOPPED", "containers": [container], **task}
            answer.body = json.dumps(found).encode()
        return answer

    return change


SMALL, LARGE = {"*": "ecs"}, {"etl": "ecs-large", "*": "ecs"}


@pytest.mark.parametrize(
    ("code", "compute", "definition"),
    [(0, SMALL, "tidemill-small"), (1, SMALL, "tidemill-small"), (2, SMALL, "tidemill-small"),
     (99, LARGE, "tidemill-fraud-large")],
)  # fmt: skip
def test_an_ecs_task_has_the_same_arguments_and_its_exit_code_is_the_stages(
    aws: str, ecs: dict[str, str], orchestrator: Orchestrator, compute: dict[str, str], definition: str, code: int
) -> None:
    with between(aws, ended(code)) as asked:
        found = orchestrator.run(ecs, compute)
    (request,) = [one.body for one in asked if one.operation == "RunTask"]
    assert (found.get("code"), found.get("line")) == (code, "{}"), found
    assert (request["cluster"], request["taskDefinition"]) == ("tidemill", definition)
    assert request["networkConfiguration"]["awsvpcConfiguration"] == {
        "subnets": [ecs["TIDEMILL_ECS_SUBNETS"]], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED",
    }  # fmt: skip
    (container,) = request["overrides"]["containerOverrides"]
    assert (container["name"], container["command"]) == ("jobs", ARGUMENTS)
    assert {"name": "AIRFLOW_CTX_DAG_ID", "value": "fraud_data"} in container["environment"]
    assert found["links"] == ["CloudWatchEventsLink"]
    assert found["pushed"]["cloudwatch_events"]["awslogs_group"] == GROUP


def test_an_attempt_whose_worker_died_is_taken_up_and_a_task_is_stopped_with_its_stage(
    aws: str, ecs: dict[str, str], orchestrator: Orchestrator
) -> None:
    with between(aws, ended(0)) as asked:
        assert orchestrator.run(ecs, SMALL)["code"] == 0
        assert orchestrator.run(ecs, SMALL, "stop")["code"] == 0
    names = [one.operation for one in asked]
    assert names.count("RunTask") == 1, "moto's first task still runs"
    (stopped,) = [one.body for one in asked if one.operation == "StopTask"]
    assert stopped["reason"] == "ended by Airflow"


@pytest.mark.fault("F13")
@pytest.mark.parametrize(
    ("task", "told"),
    [({"stopCode": "SpotInterruption", "stoppedReason": "Your Spot Task was interrupted."}, "SpotInterruption: Your Spot"),
     ({"stopCode": "TaskFailedToStart", "stoppedReason": "CannotPullContainerError"}, "CannotPullContainerError"),
     ({"stopCode": "EssentialContainerExited", "stoppedReason": "OutOfMemoryError"}, "OutOfMemoryError")],
)  # fmt: skip
def test_a_task_that_ecs_stopped_is_tried_again(
    aws: str, ecs: dict[str, str], orchestrator: Orchestrator, task: dict[str, str], told: str
) -> None:
    with between(aws, ended(None, **task)):
        found = orchestrator.run(ecs, SMALL)
    assert found["raised"] == "AirflowException", found
    assert told in found["message"]
    assert "nothing of it was published" in found["message"]


@pytest.mark.fault("F13")
@pytest.mark.parametrize(
    ("where", "code", "raised", "told"),
    [("ecs", "AccessDeniedException", "AirflowFailException", "nothing ran.*ecs:RunTask, iam:PassRole"),
     ("ecs", "ThrottlingException", "AirflowException", "ThrottlingException"),
     ("emr", "AccessDeniedException", "AirflowFailException", "nothing ran.*emr-serverless:StartJobRun, iam:PassRole"),
     ("emr", "ThrottlingException", "AirflowException", "ThrottlingException")],
)  # fmt: skip
def test_what_aws_refuses_is_not_tried_again_and_what_it_cannot_do_now_is(
    aws: str, ecs: dict[str, str], emr: dict[str, str], orchestrator: Orchestrator,
    where: str, code: str, raised: str, told: str,
) -> None:  # fmt: skip
    def change(asked: Asked, forward: Callable[[], Answer]) -> Answer:
        said = json.dumps({"__type": code, "message": "no"}).encode()
        begins = asked.operation == "RunTask" or "jobDriver" in (asked.body or {})
        return Answer(400, said, {"x-amzn-ErrorType": code}) if begins else forward()

    once = {"AWS_MAX_ATTEMPTS": "1"}
    with between(aws, change):
        found = orchestrator.run(ecs | emr | once, {"etl": where})
    assert found["raised"] == raised, found
    assert re.search(told, found["message"]), found


@pytest.mark.fault("F13")
def test_without_room_a_task_is_tried_again(aws: str, ecs: dict[str, str], orchestrator: Orchestrator) -> None:
    def change(asked: Asked, forward: Callable[[], Answer]) -> Answer:
        full = {"tasks": [], "failures": [{"reason": "RESOURCE:MEMORY"}]}
        return Answer(200, json.dumps(full).encode()) if asked.operation == "RunTask" else forward()

    with between(aws, change):
        found = orchestrator.run(ecs, SMALL)
    assert (found["raised"], "no room for tidemill-small now (RESOURCE:MEMORY)" in found["message"]) == (
        "AirflowException", True,
    )  # fmt: skip


@pytest.mark.parametrize("where", ["ecs", "emr"])
def test_without_credentials_it_is_told_which_to_set(
    aws: str, ecs: dict[str, str], emr: dict[str, str], orchestrator: Orchestrator, where: str, tmp_path: Path
) -> None:
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}
    found = orchestrator.run(ecs | emr | nobody | {"HOME": str(tmp_path)}, {"etl": where})
    assert found["raised"] == "AirflowFailException", found
    assert re.search("no AWS credentials.*nothing ran.*AWS_PROFILE", found["message"]), found


def spark(state: str, details: str = "", *, works: bool = True) -> Change:
    """An EMR that runs the job's entry point, as spark-submit would, and ends so."""

    def change(asked: Asked, forward: Callable[[], Answer]) -> Answer:
        answer = forward()
        body = asked.body or {}
        if "jobDriver" in body and works:
            submit = body["jobDriver"]["sparkSubmit"]
            passed = dict(
                one.removeprefix("spark.emr-serverless.driverEnv.").partition("=")[::2]
                for one in submit["sparkSubmitParameters"].split(" ") if one.startswith("spark.emr-serverless")
            )  # fmt: skip
            subprocess.run(
                [sys.executable, "-m", "jobs.emr", *submit["entryPointArguments"]],
                cwd=ROOT, env=os.environ | passed, capture_output=True, check=False, timeout=200,
            )  # fmt: skip
        if asked.line.startswith("GET ") and "/jobruns/" in asked.line:
            found = answer.json
            found["jobRun"] |= {"state": state, "stateDetails": details}
            answer.body = json.dumps(found).encode()
        return answer

    return change


def test_an_emr_job_has_the_same_arguments_and_says_that_there_was_nothing_to_do(
    aws: str, emr: dict[str, str], orchestrator: Orchestrator
) -> None:
    with between(aws, spark("SUCCESS")) as asked:
        found = orchestrator.run(emr, {"etl": "emr"}, "stop")
    (request,) = [one.body for one in asked if one.body and "jobDriver" in one.body]
    assert (found.get("code"), found["links"]) == (99, ["EmrServerlessCloudWatchLogsLink"]), found
    assert "nothing ingested for fraud 2026-01-10" in found["line"]
    submit = request["jobDriver"]["sparkSubmit"]
    assert submit["entryPoint"] == "s3://code/emr.py"
    assert submit["entryPointArguments"][1:] == ARGUMENTS
    assert submit["sparkSubmitParameters"].startswith("--archives s3://code/environment.tar.gz#environment --conf ")
    assert f"driverEnv.TIDEMILL_LAKE_URI={emr['TIDEMILL_LAKE_URI']}" in submit["sparkSubmitParameters"]
    assert "driverEnv.TIDEMILL_SPARK_FILES=s3 " in f"{submit['sparkSubmitParameters']} "
    assert "payments risk" not in submit["sparkSubmitParameters"], "a space begins another option"
    assert request["executionRoleArn"] == emr["TIDEMILL_EMR_ROLE"]
    application = emr["TIDEMILL_EMR_APPLICATION"]
    (cancelled,) = [one.line for one in asked if one.line.startswith("DELETE ")]
    assert f"/applications/{application}/jobruns/" in cancelled, "the job of a task that is ended is cancelled"


@pytest.mark.fault("F13")
def test_an_emr_job_that_fails_before_its_command_ends_is_tried_again(
    aws: str, emr: dict[str, str], orchestrator: Orchestrator
) -> None:
    with between(aws, spark("FAILED", "executor lost, exit 137", works=False)):
        found = orchestrator.run(emr, {"etl": "emr"})
    assert found["raised"] == "AirflowException", found
    assert "FAILED: executor lost, exit 137" in found["message"]


def test_every_setting_that_a_place_needs_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*ECS, *EMR, "TIDEMILL_ECS_SUBNETS", "TIDEMILL_EMR_APPLICATION", "TIDEMILL_LAKE_URI"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TIDEMILL_COMPUTE", json.dumps({"etl": "emr", "train": "ecs-large", "gate": "emr", "*": "ecs"}))
    with pytest.raises(SettingError) as raised:
        Settings.load()
    needed = {*ECS, *EMR, "TIDEMILL_ECS_SUBNETS", "TIDEMILL_EMR_APPLICATION", "TIDEMILL_LAKE_URI"}
    needed -= {"TIDEMILL_EMR_SPARK_PARAMETERS"}
    assert {name for name in needed if f"- {name}:" in str(raised.value)} == needed
    assert "'gate' cannot run on emr" in str(raised.value)


def test_a_landing_on_s3_is_waited_for_by_the_triggerer(
    aws: str, lake_name: str, orchestrator: Orchestrator, tmp_path: Path
) -> None:
    folder = tmp_path / MIRROR / lake_name.removeprefix("s3://") / "landing/fraud/transactions/batch=2026-01-10"
    bucket = lake_name.removeprefix("s3://").partition("/")[0]
    key = "lake/landing/fraud/transactions/batch=2026-01-10"
    client("s3").put_object(Bucket=bucket, Key=f"{key.replace('10', '11')}/payments.csv", Body=b"another day's")
    deferred = orchestrator.ask({}, wait=str(folder))
    assert deferred["trigger"] == "airflow.providers.amazon.aws.triggers.s3.S3KeyTrigger"
    given = deferred["given"]
    assert (given["bucket_name"], given["bucket_key"], given["aws_conn_id"]) == (bucket, f"{key}/[!.]*", None)
    client("s3").put_object(Bucket=bucket, Key=f"{key}/payments.csv", Body=b"landed")
    assert orchestrator.answer() == {"event": {"status": "success"}}
    assert orchestrator.ask({}, wait=str(folder)) == {"trigger": None}, "what is there is not waited for"


@pytest.mark.parametrize(("code", "status"), [("AccessDenied", 403), ("NoSuchBucket", 404)])
def test_a_lake_that_cannot_be_looked_into_names_what_to_set_or_allow(
    aws: str, lake_name: str, orchestrator: Orchestrator, tmp_path: Path, code: str, status: int
) -> None:
    said = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    folder = tmp_path / MIRROR / lake_name.removeprefix("s3://") / "landing"
    with between(aws, lambda _, __: Answer(status, said)):
        found = orchestrator.ask({}, wait=str(folder))
    assert found["raised"] == "AirflowException", found
    assert re.search(f"{code}.*TIDEMILL_LAKE_URI, AWS_REGION.*s3:ListBucket", found["message"]), found


@pytest.mark.parametrize(
    "compute", [{"*": "local"}, {"*": "ecs"}, {"etl": "emr", "train": "ecs-large", "*": "ecs"}], ids=str
)
def test_every_dag_parses_wherever_its_stages_run(
    tmp_path_factory: pytest.TempPathFactory, compute: dict[str, str]
) -> None:
    settings = ECS | EMR | {"TIDEMILL_ECS_SUBNETS": "subnet-1", "TIDEMILL_EMR_APPLICATION": "00f1"}
    settings |= {"TIDEMILL_LAKE_URI": "s3://lake/prod", "TIDEMILL_COMPUTE": json.dumps(compute)}
    found = parsed(tmp_path_factory.mktemp("bag"), more=settings)
    assert found["errors"] == {}
    kinds = ("data", "training", "rollout", "monitoring")
    assert set(found["dags"]) == {f"{project}_{kind}" for project in PROJECTS for kind in kinds}
    logs = {"local": [], "ecs": ["CloudWatchEventsLink"], "ecs-large": ["CloudWatchEventsLink"],
            "emr": ["EmrServerlessCloudWatchLogsLink"]}  # fmt: skip
    for dag in found["dags"].values():
        for name, task in dag["tasks"].items():
            if task["command"]:
                where = compute.get(task["command"].split()[0], compute["*"])
                assert task["links"] == logs[where], f"{name} on {where}"
