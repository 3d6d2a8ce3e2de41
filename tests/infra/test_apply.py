"""envs/local, applied to a local AWS API with its state in a bucket there: what is made, made again, and destroyed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from jobs.features.online.dynamodb import DynamoDB
from jobs.lake import Lake
from jobs.projects import PROJECTS
from jobs.rollout.adapters import adapters
from jobs.services.describe import tfvars
from jobs.services.ports import service
from jobs.settings import Settings
from jobs.storage import publish, require
from tests import buckets
from tests.infra.terraform import Terraform
from tests.proxies import Answer, Asked, between

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
REGION, SOME = "eu-central-1", 2
MADE = "passwords.json"
SOME_OF_IT = [
    f"-target=module.tidemill.module.{one}"
    for one in ("online_store", "lake.aws_s3_bucket.this", "registry.aws_secretsmanager_secret_version.generated")
]
"""Two projects: `for_each` is seen to work, in half of the time that all take."""
_PLAIN = """
key = "local.tfstate"
access_key = "local"
secret_key = "local"
use_path_style = true
skip_credentials_validation = true
skip_requesting_account_id = true
skip_metadata_api_check = true
"""


def client(service: str, aws: str) -> Any:
    import boto3

    return boto3.client(
        service, endpoint_url=aws, region_name=REGION, aws_access_key_id="local", aws_secret_access_key="local"
    )


@pytest.fixture(scope="module")
def state(tree: Path, provider: dict[str, str], aws: str) -> str:
    """The bucket of states, made by infra/terraform/state, which says what backend.hcl has to."""
    bootstrap = Terraform(tree, "state", provider)
    bootstrap.init(())
    bootstrap.must("apply", "-auto-approve", "-no-color", f"-var=aws_endpoint={aws}", f"-var=region={REGION}")
    backend: str = bootstrap.outputs()["backend"]
    (tree / "envs" / "local" / "backend.hcl").write_text(
        f'{backend}{_PLAIN}endpoints = {{ s3 = "{aws}", sts = "{aws}", iam = "{aws}" }}\n'
    )
    return next(line.split('"')[1] for line in backend.splitlines() if line.startswith("bucket"))


@pytest.fixture(scope="module")
def local(tree: Path, provider: dict[str, str], aws: str, state: str) -> Iterator[Terraform]:
    """envs/local, applied; destroyed at the end."""
    chosen = dict(islice(json.loads(tfvars().line)["projects"].items(), SOME))
    (tree / "envs/local/projects.auto.tfvars.json").write_text(json.dumps({"projects": chosen}))
    terraform = Terraform(tree, "envs/local", provider | {"TF_VAR_aws_endpoint": aws})
    terraform.init(["-backend-config=backend.hcl"])
    half_applied(terraform, aws)
    terraform.must("apply", "-auto-approve", "-no-color", seconds=1500)
    yield terraform
    terraform.must("destroy", "-auto-approve", "-no-color", seconds=1500)
    assert not json.loads(terraform.must("show", "-json")).get("values")


def half_applied(terraform: Terraform, aws: str) -> None:
    """An apply of some of it that AWS denied the table to: what was made is known, and the next apply goes on."""

    def change(asked: Asked, forward: Callable[[], Answer]) -> Answer:
        said = json.dumps({"__type": "AccessDeniedException", "message": "no dynamodb:CreateTable"}).encode()
        denied = Answer(400, said, {"Content-Type": "application/x-amz-json-1.0"})
        return denied if asked.operation == "CreateTable" else forward()

    with between(aws, change):
        through = replace(
            terraform, environment=terraform.environment | {"TF_VAR_aws_endpoint": os.environ["AWS_ENDPOINT_URL"]}
        )
        outcome = through.run("apply", "-auto-approve", "-no-color", *SOME_OF_IT, seconds=1500)
    os.environ.pop("AWS_ENDPOINT_URL")
    assert outcome.code == 1
    assert "AccessDeniedException: no dynamodb:CreateTable" in outcome.flat
    made = terraform.must("state", "list")
    assert "module.lake.aws_s3_bucket.this" in made
    assert "aws_dynamodb_table" not in made
    known = passwords(aws)
    assert "tidemill-local/database/airflow/password" in known
    (terraform.tree / MADE).write_text(json.dumps(known))


def passwords(aws: str) -> dict[str, str]:
    """The value of every secret there is, by its name."""
    secrets = client("secretsmanager", aws)
    names = [one["Name"] for one in secrets.list_secrets()["SecretList"]]
    return {name: secrets.get_secret_value(SecretId=name)["SecretString"] for name in names}


def test_a_second_plan_is_empty(local: Terraform) -> None:
    outcome = local.run("plan", "-no-color", "-detailed-exitcode")
    assert outcome.code == 0, outcome.text[-6000:]
    assert "No changes" in outcome.text


def test_what_it_says_is_a_settings_file(local: Terraform, tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    file.write_text(local.outputs()["settings"])
    settings = Settings(_env_file=file)  # type: ignore[call-arg]
    assert settings.lake_uri == "s3://tidemill-local-lake-123456789012"
    assert settings.online_store_url == f"dynamodb://tidemill-local-features?region={REGION}"


def test_producers_are_told_where_to_deliver_by_project_and_source(local: Terraform) -> None:
    landing = local.outputs()["landing"]
    assert {name: set(sources) for name, sources in landing.items()} == {
        name: {source.name for source in project.sources} for name, project in islice(PROJECTS.items(), SOME)
    }


def test_the_lake_keeps_a_conditional_write(local: Terraform, aws: str) -> None:
    from botocore.exceptions import ClientError

    bucket = local.outputs()["landing"]
    name = next(iter(next(iter(bucket.values())).values())).split("/")[2]
    lake = client("s3", aws)
    lake.put_object(Bucket=name, Key="probe/current.json", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        lake.put_object(Bucket=name, Key="probe/current.json", Body=b"2", IfNoneMatch="*")
    assert lake.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"


def test_the_table_is_an_online_store(local: Terraform, aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    store = DynamoDB("tidemill-local-features", "first", REGION, aws)
    value = bytes(range(64))
    assert store.put([("view:key", value)]) == 1
    assert store.get(["view:key", "view:other"], patient=True) == {"view:key": value}
    store.close()


def test_an_apply_that_stopped_half_way_went_on_with_the_passwords_that_there_were(local: Terraform, aws: str) -> None:
    assert "aws_dynamodb_table" in local.must("state", "list")
    before = json.loads((local.tree / MADE).read_text())
    assert {name: passwords(aws)[name] for name in before} == before


@pytest.fixture
def installed(local: Terraform, aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """What the settings file makes of a process that speaks to this AWS."""
    known = {
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": aws,
    }
    for name, value in known.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("jobs.lake.HOME", tmp_path)
    buckets.forget()
    file = tmp_path / "settings.env"
    file.write_text(local.outputs()["settings"])
    yield Settings(_env_file=file, home=tmp_path)  # type: ignore[call-arg]
    buckets.forget()


def test_a_batch_is_published_in_its_lake_and_read_elsewhere(
    installed: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(folder: Path) -> int:
        (folder / "part-00000.parquet").write_text("a batch")
        return 1

    day = date(2026, 1, 10)
    assert publish(Lake(installed.lake_uri).raw("any", "source", day), write, inputs={}, watermark="").epoch == 1
    monkeypatch.setattr("jobs.lake.HOME", tmp_path / "elsewhere")
    (path,) = require(Lake(installed.lake_uri).raw("any", "source", day), "").paths()
    assert Path(path).read_text() == "a batch"


def test_a_rollout_deploys_its_services(installed: Settings) -> None:
    """Routes are written in tests/rollout/test_fleet.py: moto finds no service whose namespace is in its DNS settings."""
    project = next(iter(PROJECTS))
    slots, _ = adapters(installed)
    slots.assign(project, "green", "r-1", "d" * 64, 1, Lake(installed.lake_uri).release(project, "r-1"))
    for count in (1, 0):
        slots.restart(project, "green")
        (found,) = client("ecs", os.environ["AWS_ENDPOINT_URL"]).describe_services(
            cluster=installed.need("ecs_cluster"), services=[service(f"serve-{project}-green")]
        )["services"]
        assert found["desiredCount"] == count
        slots.clear(project, "green")


def test_no_secret_is_in_the_state(local: Terraform, aws: str) -> None:
    held, known = local.must("state", "pull"), passwords(aws)
    assert "tidemill-local/api_key" in known
    assert all(len(value) >= 32 for value in known.values())
    assert len(set(known.values())) == len(known)
    assert not [name for name, value in known.items() if value in held]


def test_a_lock_that_nobody_holds_any_more_is_named_and_can_be_broken(local: Terraform, aws: str, state: str) -> None:
    lock = {
        "ID": "00000000-1111-2222-3333-444444444444", "Operation": "OperationTypeApply", "Who": "gone@elsewhere",
        "Version": "1.11.4", "Created": "2026-01-01T00:00:00Z", "Path": f"{state}/local.tfstate", "Info": "",
    }  # fmt: skip
    client("s3", aws).put_object(Bucket=state, Key="local.tfstate.tflock", Body=json.dumps(lock).encode())
    refused = local.run("apply", "-auto-approve", "-no-color", "-refresh=false")
    assert refused.code == 1
    assert "Error acquiring the state lock" in refused.flat
    assert "gone@elsewhere" in refused.flat
    local.must("force-unlock", "-force", lock["ID"])
    assert local.run("plan", "-no-color", "-refresh=false", "-detailed-exitcode").code == 0


def test_an_address_that_is_not_of_this_machine_is_refused_before_anything_is_asked(local: Terraform) -> None:
    outcome = local.run("plan", "-no-color", "-var=aws_endpoint=https://ec2.amazonaws.com")
    assert outcome.code == 1
    assert "aws_endpoint must be an address of this machine" in outcome.flat
