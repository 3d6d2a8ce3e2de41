"""envs/local, applied to a local AWS API with its state in a bucket there: what is made, made again, and destroyed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.projects import PROJECTS
from jobs.services.describe import tfvars
from tests.infra.terraform import Terraform

pytestmark = [pytest.mark.services, pytest.mark.timeout(1200)]


def client(service: str, aws: str) -> Any:
    import boto3

    return boto3.client(
        service, endpoint_url=aws, region_name="eu-central-1", aws_access_key_id="local", aws_secret_access_key="local"
    )


@pytest.fixture(scope="module")
def state(tree: Path, provider: dict[str, str], aws: str) -> list[str]:
    """The bucket of states, made by infra/terraform/state; the value is how `terraform init` is told of it."""
    bootstrap = Terraform(tree, "state", provider)
    bootstrap.init(())
    bootstrap.must("apply", "-auto-approve", "-no-color", f"-var=aws_endpoint={aws}", "-var=region=eu-central-1")
    lines = bootstrap.outputs()["backend"]
    file = tree / "envs" / "local" / "backend.hcl"
    file.write_text(
        lines
        + 'key = "local.tfstate"\naccess_key = "local"\nsecret_key = "local"\nuse_path_style = true\n'
        + "skip_credentials_validation = true\nskip_requesting_account_id = true\nskip_metadata_api_check = true\n"
        + f'endpoints = {{ s3 = "{aws}", sts = "{aws}", iam = "{aws}" }}\n'
    )
    return ["-backend-config=backend.hcl"]


@pytest.fixture(scope="module")
def local(tree: Path, provider: dict[str, str], aws: str, state: list[str]) -> Iterator[Terraform]:
    """envs/local, applied; destroyed at the end."""
    (tree / "envs/local/projects.auto.tfvars.json").write_text(tfvars().line)
    terraform = Terraform(tree, "envs/local", provider | {"TF_VAR_aws_endpoint": aws})
    terraform.init(state)
    terraform.must("apply", "-auto-approve", "-no-color", seconds=900)
    yield terraform
    terraform.must("destroy", "-auto-approve", "-no-color", seconds=900)
    assert json.loads(terraform.must("show", "-json")).get("values") is None


def test_a_second_plan_is_empty(local: Terraform) -> None:
    outcome = local.run("plan", "-no-color", "-detailed-exitcode")
    assert outcome.code == 0, outcome.text[-6000:]
    assert "No changes" in outcome.text


def test_producers_are_told_where_to_deliver_by_project_and_source(local: Terraform) -> None:
    landing = local.outputs()["landing"]
    assert {name: set(sources) for name, sources in landing.items()} == {
        name: {source.name for source in project.sources} for name, project in PROJECTS.items()
    }
