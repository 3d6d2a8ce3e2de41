"""What docker/compose.yaml promises: every service confined, watched, private and given no password in the file."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.services.programs import HOSTED
from jobs.settings import ROOT, Settings

FILE = ROOT / "docker" / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONCE = {"secrets", "migrate", "tidemill", "demo"}
"""What ends by itself: others wait for its success, or a person does."""
DEV = ROOT / ".venv" / "dev" / "bin"


def _tool(name: str) -> str:
    if not (DEV / name).exists():
        pytest.skip(f"{name} is not installed; run `make environments`")
    return str(DEV / name)


def test_the_file_follows_the_published_schema() -> None:
    checked = subprocess.run(
        [_tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(FILE)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("dockerfile", sorted(path.name for path in (ROOT / "docker").glob("*.Dockerfile")))
def test_hadolint_finds_nothing(dockerfile: str) -> None:
    checked = subprocess.run(
        [_tool("hadolint"), str(ROOT / "docker" / dockerfile)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_service_of_one_machine_is_a_container_of_its_name() -> None:
    assert set(HOSTED) | {"redis", "s3"} | ONCE == set(SERVICES)
    for name in set(HOSTED) - {"postgres"}:
        assert SERVICES[name]["environment"]["TIDEMILL_SERVICE"] == name
        assert "command" not in SERVICES[name], "an image's own command runs the service it is told"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_container_is_nobody_and_writes_to_its_volumes_only(name: str) -> None:
    service = SERVICES[name]
    assert service["user"] == "10001:10001"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    for volume in service["volumes"]:
        source = volume.partition(":")[0]
        assert source in COMPOSE["volumes"], f"{source} is not a named volume"


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONCE))
def test_what_keeps_running_has_a_health_check_and_waits_for_healthy_ones(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert SERVICES[name]["depends_on"]
    for other, how in SERVICES[name]["depends_on"].items():
        assert how["condition"] == ("service_completed_successfully" if other in ONCE else "service_healthy")


def test_what_is_published_is_published_on_loopback() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(ports) == {"router", "airflow-api-server", "mlflow"}
    for published in ports.values():
        assert all(re.fullmatch(r"127\.0\.0\.1:\$\{TIDEMILL_[A-Z]+_PORT:-\d+\}:\d+", one) for one in published)
    assert COMPOSE["networks"]["inside"]["internal"] is True
    for name, service in SERVICES.items():
        assert service["networks"] == (["inside", "edge"] if name in ports else ["inside"])


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_images_have_a_version(name: str) -> None:
    tag = SERVICES[name]["image"].rpartition(":")[2].rstrip("}").lstrip("-")
    assert re.match(r"\d+\.\d+", tag), SERVICES[name]["image"]
    assert "latest" not in SERVICES[name]["image"]


def test_no_password_is_in_the_file() -> None:
    known = {"POSTGRES_PASSWORD_FILE", "AWS_SHARED_CREDENTIALS_FILE"}
    for name, service in SERVICES.items():
        secret = {
            one for one in service.get("environment", {}) if re.search("PASSWORD|SECRET|KEY|TOKEN|CREDENTIAL", one)
        }
        assert secret <= known, name


def test_every_password_is_generated_and_only_its_service_is_told(tmp_path: Path) -> None:
    from jobs.services import containers, credentials

    settings = Settings(_env_file=None, home=tmp_path / "home", hosts="named")  # type: ignore[call-arg]
    containers.secrets(settings, tmp_path / "secrets")
    first = credentials.ensure(settings)
    containers.secrets(settings, tmp_path / "secrets")
    assert credentials.ensure(settings) == first
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert (tmp_path / "secrets/postgres/password").read_text() == first.postgres
    assert f"requirepass {first.redis}" in (tmp_path / "secrets/redis/redis.conf").read_text()
    (identity,) = json.loads((tmp_path / "secrets/s3/identities.json").read_text())["identities"]
    assert identity["credentials"] == [{"accessKey": first.s3_access_key, "secretKey": first.s3_secret_key}]
    assert first.s3_secret_key in (tmp_path / "home/aws/credentials").read_text()
    assert "addressing_style = path" in (tmp_path / "home/aws/config").read_text()
    told = "".join(path.read_text() for path in (tmp_path / "secrets").rglob("*") if path.is_file())
    assert not [one for one in (*first.databases.values(), first.airflow_jwt, first.api_key) if one in told]
