"""docs/cloud.md can be followed: every command of AWS, output, variable and address that it names is there."""

from __future__ import annotations

import re
import shlex
from functools import cache
from itertools import takewhile

import botocore.session
import pytest
from botocore import xform_name

from jobs.settings import ROOT
from tests.infra.terraform import SOURCE

TEXT = (ROOT / "docs" / "cloud.md").read_text()
COMMANDS = sorted(
    {
        " ".join(found.replace("\\\n", " ").split())
        for found in re.findall(r"(?:^|`|\(|= |\$\()(?: *)(aws (?:[^`\n\\|)]|\\\n)+)", TEXT, re.MULTILINE)
    }
)
OWN = {"ecr get-login-password", "sso login"}
"""What the command line adds to the services' own operations."""
EVERYWHERE = {"--query", "--output", "--region", "--no-cli-pager"}
STAGING = SOURCE / "envs" / "staging"


@cache
def service(name: str) -> botocore.model.ServiceModel:
    return botocore.session.get_session().get_service_model("s3" if name == "s3api" else name)


def test_there_are_commands() -> None:
    assert {command.split()[1] for command in COMMANDS} >= {"acm", "ecr", "ecs", "rds", "s3api", "secretsmanager"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_aws_is_one_and_has_these_options(command: str) -> None:
    words = shlex.split(command, posix=False)
    named = list(takewhile(lambda word: not word.startswith("-"), words[1:]))
    options = {word.partition("=")[0] for word in words if word.startswith("--")}
    if " ".join(named) in OWN:
        return
    model = service(named[0])
    if named[1] == "wait":
        waiters = botocore.session.get_session().get_waiter_model(named[0])
        operation = next(
            waiters.get_waiter(one).operation for one in waiters.waiter_names if xform_name(one, "-") == named[2]
        )
    else:
        operation = next((one for one in model.operation_names if xform_name(one, "-") == named[1]), "")
        assert operation, f"aws {named[0]} has no {named[1]}"
    shape = model.operation_model(operation).input_shape
    members = {f"--{xform_name(one, '-')}" for one in (shape.members if shape else {})}
    flags = {f"--no-{one.removeprefix('--')}" for one in members}
    assert options <= members | flags | EVERYWHERE, f"{sorted(options - members - flags - EVERYWHERE)} is no option"


def test_every_output_variable_and_address_is_terraforms() -> None:
    outputs = {
        name
        for path in (STAGING, SOURCE / "state")
        for name in _named(path.joinpath("outputs.tf").read_text(), "output")
    }
    asked = set(re.findall(r"terraform output -(?:raw|json) (\w+)", TEXT))
    assert asked >= {"backend", "repositories", "stages", "address", "landing", "settings"}
    assert asked <= outputs
    (given,) = re.findall(r"`envs/staging/terraform\.tfvars`.*?```\n(.*?)```", TEXT, re.DOTALL)
    told = set(re.findall(r"^ {3}(\w+) +=", given, re.MULTILINE))
    variables = _named((STAGING / "variables.tf").read_text(), "variable")
    needed = {name for name, body in variables.items() if "default" not in body}
    assert told == needed - {"projects"}, "what has no default, and nothing that is not there"
    for name in re.findall(r"-target=module\.tidemill\.module\.(\w+)\.", TEXT):
        assert (SOURCE / "modules" / name).is_dir()
    for kind, name in re.findall(r"-target=[\w.]*\.(aws_\w+)\.(\w+)", TEXT):
        assert f'resource "{kind}" "{name}"' in (SOURCE / "modules" / "registry" / "main.tf").read_text()


def _named(text: str, kind: str) -> dict[str, str]:
    return dict(re.findall(rf'^{kind} "(\w+)" \{{\n(.*?)^\}}', text, re.DOTALL | re.MULTILINE))
