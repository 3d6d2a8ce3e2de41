"""Slots on ECS: what its API is asked, what a slot is told by the lake, and what a refusal is called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import boto3
import pytest

from jobs.errors import ServiceError, SettingError, TamperedError
from jobs.lake import Lake
from jobs.rollout import aws as rollout_aws
from jobs.rollout.ecs import EcsSlots
from jobs.rollout.slots import assignment_path, read_assignment
from jobs.settings import ROOT
from tests import buckets
from tests.proxies import Answer, Asked, between
from tests.rollout.cloud import PROJECT, Cloud, Slot, cloud, refusing, until

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]
DIGEST = "d" * 64


@pytest.fixture
def made(aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    monkeypatch.setattr("jobs.lake.HOME", tmp_path / "controller")
    monkeypatch.setattr(EcsSlots, "pause", 0.1)
    with cloud(aws, tmp_path) as found:
        yield found


def slots(made: Cloud) -> EcsSlots:
    return EcsSlots(made.settings)


def assigned(made: Cloud, slot: str = "green") -> None:
    folder = Lake(made.settings.lake_uri).release(PROJECT, "r-1")
    slots(made).assign(PROJECT, slot, "r-1", DIGEST, 3, folder)


def updates(asked: list[Asked]) -> list[dict[str, object]]:
    return [one.body for one in asked if one.operation == "UpdateService"]


def test_a_slot_is_deployed_with_as_many_tasks_as_the_other_and_reads_the_lake(made: Cloud) -> None:
    buckets.client("ecs").update_service(cluster=made.settings.ecs_cluster, service="serve-fraud-blue", desiredCount=3)
    assigned(made)
    with made.aws() as asked:
        own = slots(made)
        own.restart(PROJECT, "green")
        state = own.wait_ready(PROJECT, "green", "r-1", 20)
    deployed = {
        "cluster": made.settings.ecs_cluster,
        "service": "serve-fraud-green",
        "desiredCount": 3,
        "forceNewDeployment": True,
    }
    assert updates(asked) == [deployed]
    assert (state["release"], state["digest"], state["process"][:8]) == ("r-1", DIGEST, "ecs-svc/")
    path = assignment_path(made.settings, PROJECT, "green")
    found = read_assignment(path)
    assert found is not None
    assert found.folder == f"{made.settings.lake_uri}/releases/{PROJECT}/r-1"


def test_a_slot_with_nothing_to_serve_has_no_task(made: Cloud) -> None:
    assigned(made)
    with made.aws() as asked:
        own = slots(made)
        own.restart(PROJECT, "green")
        own.clear(PROJECT, "green")
        own.restart(PROJECT, "green")
        assert own.wait_ready(PROJECT, "green", None, 20) == {}
    assert [one["desiredCount"] for one in updates(asked)] == [1, 0]
    assert own.assignment(PROJECT, "green") is None
    assert own.state(PROJECT, "green") == {}


def test_every_task_of_a_slot_is_asked(made: Cloud) -> None:
    assigned(made)
    with made.aws(), ExitStack() as stack:
        slots(made).restart(PROJECT, "green")
        second = Slot(made.settings, "green", at="127.0.0.5")
        stack.callback(second.stop)
        made.register("serve-fraud-green", "127.0.0.5")
        made.slots["green"].statuses, second.statuses = {"200": 5, "500": 1}, {"200": 7}
        until(lambda: len(slots(made).own(PROJECT, "green", "predict")) == 2)
        own = slots(made).own(PROJECT, "green", "predict")
        assert sorted((one.requests, one.errors) for one in own.values()) == [(6, 1), (7, 0)]
        assert slots(made).state(PROJECT, "green")["ready"] is True
        second._state |= {"ready": False, "refused": "wrong digest"}
        assert slots(made).state(PROJECT, "green")["refused"] == "wrong digest"
        with pytest.raises(ServiceError, match="refused r-2: wrong digest"):
            slots(made).wait_ready(PROJECT, "green", "r-2", 5)


def test_a_deployment_that_fails_is_told_in_the_words_of_ecs(made: Cloud) -> None:
    assigned(made)
    made.reason = "ECS deployment circuit breaker: tasks failed to start."
    with made.aws():
        own = slots(made)
        own.restart(PROJECT, "green")
        with pytest.raises(
            ServiceError, match=r"serve-fraud-green failed: ECS deployment circuit breaker: tasks failed"
        ):
            own.wait_ready(PROJECT, "green", "r-1", 20)


def test_a_deployment_that_somebody_replaced_is_not_waited_for(made: Cloud) -> None:
    assigned(made)
    with made.aws():
        own = slots(made)
        own.restart(PROJECT, "green")
        slots(made).restart(PROJECT, "green")
        with pytest.raises(ServiceError, match="was replaced by another"):
            own.wait_ready(PROJECT, "green", "r-1", 20)


@pytest.mark.parametrize(
    ("code", "status", "error", "told"),
    [("AccessDeniedException", 400, SettingError, "denied to deploy serve-fraud-green .*Allow this role ecs:UpdateService"),
     ("ClusterNotFoundException", 400, SettingError, "TIDEMILL_ECS_CLUSTER names; nothing was changed"),
     ("ThrottlingException", 400, ServiceError, "ThrottlingException after 2 attempts; nothing was changed"),
     ("ServerException", 500, ServiceError, "nothing was changed. Run the command again")],
)  # fmt: skip
def test_what_ecs_refuses_names_what_to_set_or_allow(
    made: Cloud, monkeypatch: pytest.MonkeyPatch, code: str, status: int, error: type[Exception], told: str
) -> None:
    monkeypatch.setattr(rollout_aws, "ATTEMPTS", 2)
    assigned(made)
    with between(made.address, refusing(code, status, "UpdateService")) as asked, pytest.raises(error, match=told):
        slots(made).restart(PROJECT, "green")
    again = code in ("ThrottlingException", "ServerException")
    assert len([one for one in asked if one.operation == "UpdateService"]) == (2 if again else 1)


def test_a_project_without_services_is_told(made: Cloud) -> None:
    slots(made).assign("ads", "blue", "r-1", DIGEST, 1, "nowhere")
    with pytest.raises(SettingError, match="has no service serve-ads-green; nothing was changed"):
        slots(made).restart("ads", "blue")


def test_an_assignment_somebody_else_writes_meanwhile_is_left_alone(made: Cloud) -> None:
    assigned(made)
    key, body = f"serving/{PROJECT}/green.json", b'{"by": "another"}'
    direct = boto3.client("s3", region_name="eu-central-1", endpoint_url=made.address)

    def change(asked: Asked, forward: Callable[[], Answer]) -> Answer:
        if asked.line.startswith("PUT") and key in asked.line:
            direct.put_object(Bucket=made.settings.lake_uri.removeprefix("s3://"), Key=key, Body=body)
        return forward()

    with between(made.address, change), pytest.raises(ServiceError, match="somebody else has just written"):
        assigned(made)
    with pytest.raises(TamperedError, match="is no assignment"):
        slots(made).assignment(PROJECT, "green")


def test_without_credentials_a_rollout_says_which_to_set(made: Cloud, tmp_path: Path) -> None:
    environment = {name: value for name, value in made.environment(tmp_path).items() if not name.startswith("AWS_")}
    code = (
        "from jobs.rollout.ecs import EcsSlots; from jobs.settings import Settings\n"
        "from jobs.errors import SettingError\n"
        "try: EcsSlots(Settings.load()).state('fraud', 'blue')\n"
        "except SettingError as error: print(error)"
    )
    nobody = {"AWS_ENDPOINT_URL": made.address, "AWS_REGION": "eu-central-1", "AWS_EC2_METADATA_DISABLED": "true"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment | nobody, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "no AWS credentials to find serve-fraud-blue" in done.stdout, done


def test_settings_name_everything_that_a_rollout_on_aws_needs_at_once(tmp_path: Path) -> None:
    environment = {"TIDEMILL_HOME": str(tmp_path), "TIDEMILL_ROUTING": "weights", "PATH": os.environ["PATH"]}
    rules = json.dumps({"fraud": {"rule": "arn:one"}})
    for more, missing in (
        ({}, ("LAKE_URI", "HOSTS", "ECS_CLUSTER", "NAMESPACE", "LISTENER_RULES")),
        (
            {"TIDEMILL_LISTENER_RULES": rules},
            ("LAKE_URI", "HOSTS", "ECS_CLUSTER", "NAMESPACE", "LISTENER_RULES: 'fraud'"),
        ),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "jobs", "rollout", "status", "--project", "fraud"],
            env=environment | more, cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        for name in missing:
            assert f"- TIDEMILL_{name}" in done.stderr, done.stderr
