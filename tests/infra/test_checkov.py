"""checkov, whose every exception says why."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
import yaml

from jobs.settings import ROOT
from tests.infra.terraform import SOURCE

CONFIGURATION = SOURCE / ".checkov.yaml"
CHECKOV = ROOT / ".venv" / "checkov" / "bin" / "checkov"


def test_every_exception_says_why() -> None:
    text = CONFIGURATION.read_text()
    skipped = yaml.safe_load(text)["skip-check"]
    assert skipped
    assert len(set(skipped)) == len(skipped)
    for check in skipped:
        assert re.search(rf"^  # \S.{{30,}}\n(?:  # .*\n)*  - {check}$", text, re.M), (
            f"{check} is skipped without a reason"
        )


@pytest.mark.services
@pytest.mark.timeout(900)
def test_nothing_else_is_found() -> None:
    if not CHECKOV.is_file():
        pytest.skip(f"no checkov at {CHECKOV}; `make environments` makes it")
    done = subprocess.run(
        [CHECKOV, "--config-file", CONFIGURATION, "-d", SOURCE, "-o", "json"],
        capture_output=True, text=True, check=False, timeout=800, cwd=ROOT,
    )  # fmt: skip
    found = json.loads(done.stdout)
    failed = [f"{one['check_id']} {one['resource']}: {one['check_name']}" for one in found["results"]["failed_checks"]]
    assert not failed, "\n".join(failed)
    assert found["summary"]["passed"] > 300
