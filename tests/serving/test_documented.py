"""The requests of docs/serving.md, pasted into a shell, are answered as the page shows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from jobs.services import places
from jobs.services.ports import port
from jobs.settings import ROOT
from tests.serving.conftest import KEY, Stack

pytestmark = pytest.mark.services
PAGE = (ROOT / "docs" / "serving.md").read_text()
EXAMPLES = re.findall(r"```\n(curl .*?)```\n```json\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(("command", "shown"), EXAMPLES)
def test_a_documented_request_is_answered_as_shown(slot: Stack, command: str, shown: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl on this machine to paste the documented request into")
    secrets = slot.settings.home / "settings.env"
    places.write_private(secrets, f"TIDEMILL_API_KEY={KEY}\n")
    address = f"127.0.0.1:{port(slot.settings, 'serve-fraud-blue')}"
    pasted = command.replace("127.0.0.1:8700", address).replace("var/settings.env", str(secrets))
    assert address in pasted
    answer = json.loads(subprocess.run(["sh", "-c", pasted], capture_output=True, text=True, check=True).stdout)
    assert answer.keys() == json.loads(shown).keys()


def test_both_paths_are_documented() -> None:
    assert [re.findall(r"/fraud/(\w+)", command) for command, _ in EXAMPLES] == [["predict"], ["explain"]]
