"""Terraform as a person runs it, on a copy of infra/terraform, with the provider that this machine has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from jobs.settings import ROOT

SOURCE = ROOT / "infra" / "terraform"
PROVIDER = "registry.terraform.io/hashicorp/aws"


@dataclass(frozen=True)
class Outcome:
    """What a command said."""

    code: int
    text: str

    @property
    def flat(self) -> str:
        """The text without the frames and line breaks that Terraform draws around an error."""
        return " ".join(self.text.replace("│", " ").split())


@dataclass(frozen=True)
class Terraform:
    """The command in one root module of a copy of the tree."""

    tree: Path
    root: str
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.tree / self.root

    def run(self, *arguments: str, seconds: float = 600) -> Outcome:
        """A command's exit code and everything it wrote."""
        command = ["terraform", f"-chdir={self.folder}", *arguments]
        done = subprocess.run(
            command,
            env=environment() | self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        return Outcome(done.returncode, done.stdout)

    def must(self, *arguments: str, seconds: float = 600) -> str:
        """What a command wrote, which succeeds."""
        outcome = self.run(*arguments, seconds=seconds)
        assert outcome.code == 0, f"terraform {' '.join(arguments)}\n{outcome.text[-6000:]}"
        return outcome.text

    def init(self, backend: Sequence[str] = ("-backend=false",)) -> None:
        """Gets the root ready; the provider comes from this machine."""
        self.must("init", "-input=false", "-no-color", *backend)

    def outputs(self) -> dict[str, Any]:
        return {name: one["value"] for name, one in json.loads(self.must("output", "-json")).items()}


def environment() -> dict[str, str]:
    """The environment of a command that neither asks nor phones, and knows no account."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_VAR_"))}
    return kept | {
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
        "CHECKPOINT_DISABLE": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def command_or_skip() -> None:
    """Skips the test when there is no Terraform here."""
    if shutil.which("terraform") is None:
        pytest.skip("no `terraform` on PATH: https://developer.hashicorp.com/terraform/install says how to get it")


def plugins() -> Path | None:
    """A folder of providers, laid out as Terraform's mirrors are, for a machine that downloads none."""
    named = os.environ.get("TIDEMILL_TERRAFORM_PLUGINS")
    folders = [Path(named)] if named else [found.parent for found in Path("/opt").glob("*/registry.terraform.io")]
    return next((folder for folder in folders if (folder / PROVIDER).is_dir()), None)


def configure(folder: Path) -> dict[str, str]:
    """The variables by which Terraform finds its provider: the machine's own, else a mirror's configuration file."""
    own = os.environ.get("TF_CLI_CONFIG_FILE")
    if own and Path(own).is_file():
        return {}
    mirror = plugins()
    if mirror is None:
        return {"TF_CLI_CONFIG_FILE": os.devnull} if own else {}
    file = folder / "terraform.rc"
    file.write_text(
        f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n'
        f'  direct {{\n    exclude = ["{PROVIDER}"]\n  }}\n}}\n'
    )
    return {"TF_CLI_CONFIG_FILE": str(file)}
