"""A copy of infra/terraform that the provider is found for, and a local AWS API."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.terraform import SOURCE, Terraform, command_or_skip, configure

_MOTO = """
import logging, time
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
while True:
    time.sleep(60)
"""


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of infra/terraform: what `terraform init` writes must not be in the repository."""
    folder = tmp_path_factory.mktemp("infra") / "terraform"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns(".terraform", ".terraform.lock.hcl", "*.tfstate*"))
    return folder


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """How Terraform finds the AWS provider; skips when there is no Terraform, or no provider that it can reach."""
    command_or_skip()
    folder = tmp_path_factory.mktemp("provider")
    found = configure(folder)
    shutil.copy(SOURCE / "modules" / "lake" / "versions.tf", folder)
    outcome = Terraform(folder, ".", found).run("init", "-no-color", "-backend=false", seconds=300)
    if outcome.code:
        pytest.skip(
            "Terraform finds no AWS provider: without a network, name a plugin folder in TIDEMILL_TERRAFORM_PLUGINS "
            f"or a configuration in TF_CLI_CONFIG_FILE. It said: {outcome.flat[-300:]}"
        )
    return found


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    """moto's server, every service of it, in a process of its own; the value is its address."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "MOTO_ENABLE_ISO_REGIONS": "false"}
    with subprocess.Popen(
        [sys.executable, "-c", _MOTO], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()
