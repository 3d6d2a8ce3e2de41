"""What can be said of the files without an account, and what each module plans against mocks.

That they are formatted and valid is `make lint`'s to say.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from jobs.projects import NAMES
from jobs.services.describe import tfvars
from jobs.settings import Settings
from tests.infra.terraform import SOURCE, Terraform

FILES = sorted(SOURCE.rglob("*.tf"))
BLOCK = re.compile(r'^(variable|output) "(\w+)" \{\n(.*?)^\}', re.S | re.M)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_every_variable_and_output_says_what_it_is(path: Path) -> None:
    for kind, name, body in BLOCK.findall(path.read_text()):
        assert "  description = " in body, f"{kind} {name} has no description"
        assert kind == "output" or "  type " in body, f"variable {name} has no type"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_no_module_names_a_project_and_no_file_is_longer_than_an_idea(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) < 300
    named = {name for name in NAMES if re.search(rf'["/_-]{name}["/_-]', text)}
    assert not named, f"{path} names {named}: projects come from `tidemill projects --tfvars`"


def test_what_terraform_is_told_is_what_is_declared() -> None:
    told = json.loads(tfvars().line)["projects"]
    assert list(told) == list(NAMES)
    ports = [port for project in told.values() for port in project["ports"].values()]
    assert len(set(ports)) == 2 * len(NAMES)


def test_every_setting_is_one_that_is_read() -> None:
    text = "".join(path.read_text() for path in FILES)
    named = set(re.findall(r"\bTIDEMILL_([A-Z_]+)\b", text))
    started = {"PROJECT", "SERVICE"}  # which process a container is, read by its entry point
    assert {name.lower() for name in named - started} <= set(Settings.model_fields)


@pytest.mark.services
@pytest.mark.timeout(600)
def test_everything_that_is_missing_or_wrong_is_named_at_once_and_credentials_after_it(
    tree: Path, provider: dict[str, str], tmp_path: Path
) -> None:
    terraform = Terraform(tree, "envs/staging", provider | {"HOME": str(tmp_path)})
    versions = tree / "envs/staging/versions.tf"
    versions.write_text(versions.read_text().replace('backend "s3" {}', ""))  # the state is asked for before all else
    terraform.init(())
    said = terraform.run("plan", "-no-color")
    assert said.code == 1
    missing = set(re.findall(r'The root module input variable "(\w+)" is not set', said.flat))
    assert missing == {"region", "account", "projects", "image_tag", "public", "emails", "monthly_budget"}
    given = {
        "region": "frankfurt", "account": "12", "image_tag": "v1.0", "emails": [], "monthly_budget": 1,
        "projects": json.loads(tfvars().line)["projects"],
        "public": {"domain": "m.example.org", "certificate_arn": "a", "client_cidrs": ["10.0.0.0/8"], "requests_five_minutes": 100},
    }  # fmt: skip
    file = tree / "envs/staging/all.auto.tfvars.json"
    file.write_text(json.dumps(given))
    said = terraform.run("plan", "-no-color")
    assert said.code == 1
    for wrong in ("the name of a region", "the twelve digits", "emails must name somebody"):
        assert wrong in said.flat
    file.write_text(json.dumps(given | {"region": "eu-central-1", "account": "123456789012", "emails": ["a@b.c"]}))
    said = terraform.run("plan", "-no-color")
    assert said.code == 1
    assert "No valid credential sources found" in said.flat


@pytest.mark.services
@pytest.mark.timeout(1800)
def test_modules_plan_what_they_promise(tree: Path, provider: dict[str, str], aws: str) -> None:
    """Terraform's own tests plan also what no local AWS API can make: against mocks, or against that API."""
    terraform = Terraform(tree, "modules/installation", provider | {"AWS_ENDPOINT_URL": aws})
    terraform.init()
    said = terraform.must("test", "-no-color", seconds=1500)
    assert re.search(r"Success! (\d+) passed, 0 failed", said)
