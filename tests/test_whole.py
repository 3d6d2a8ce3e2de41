"""The whole loop as a newcomer sees it: the demo from nothing, again, and no trace after `down`. Slow."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.steps import STEPS
from jobs.settings import ROOT
from tests.ports import free_port_base

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    home = tmp_path_factory.mktemp("whole") / "var"
    environment = os.environ | {"TIDEMILL_HOME": str(home), "TIDEMILL_PORT_BASE": str(free_port_base())}
    yield environment
    subprocess.run([ROOT / ".venv/jobs/bin/tidemill", "down"], env=environment, check=True)


def demo(environment: dict[str, str]) -> tuple[subprocess.CompletedProcess[str], dict[str, Any], float]:
    began = time.monotonic()
    command = [ROOT / ".venv/jobs/bin/python", "-m", "demo"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    summary = json.loads((Path(environment["TIDEMILL_HOME"]) / "demo" / "summary.json").read_bytes())
    return done, summary, time.monotonic() - began


@pytest.fixture(scope="module")
def first(environment: dict[str, str]) -> tuple[dict[str, Any], float]:
    done, summary, seconds = demo(environment)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return summary, seconds


def test_every_step_happened_in_order(first: tuple[dict[str, Any], float]) -> None:
    summary, _ = first
    assert summary["ok"] is True
    assert [step["name"] for step in summary["steps"]] == [step.__name__ for step in STEPS]
    assert all(step["ok"] for step in summary["steps"])


def test_the_facts_are_what_the_demo_is_there_to_show(first: tuple[dict[str, Any], float]) -> None:
    facts = {step["name"]: step["facts"] for step in first[0]["steps"]}
    for name in ("data_range", "data_daily"):
        data = facts[name]
        assert data["accepted"] + data["quarantined"] + data["duplicates"] == data["delivered"]
        assert data["passed"] == data["batches"]
    assert facts["data_range"]["quarantined"] > 0
    assert facts["data_range"]["duplicates"] > 0
    assert facts["training_first"]["verdict"]["verdict"] == "PROMOTE"
    assert facts["rollout_first"]["champion"]["epoch"] == 1
    assert facts["traffic"]["drift"]["finding"] == "no drift"
    assert facts["traffic"]["labels"]["matured"] > 0
    assert (facts["drift"]["drift"]["verdict"], facts["drift"]["drift"]["finding"]) == ("RETRAIN", "drift")
    for name in ("traffic", "drift"):
        replay = facts[name]["replay"]
        assert replay["vectors"] > 2_000
        assert replay["share"] >= 0.999
    assert facts["training_retrain"]["verdict"]["verdict"] == "PROMOTE"
    canary = facts["rollout_canary"]
    assert canary["champion"]["epoch"] == 2
    assert canary["champion"]["release"] != canary["before"]["release"]
    walked = [one["step"] for one in canary["rollout"]["verdicts"] if one["verdict"] == "PROMOTE"]
    assert walked == ["start", "shadow", "5", "25", "50", "100", "bake", "promotion"]
    assert canary["clients"]["failed"] == 0
    assert facts["bad_challenger"]["verdict"]["verdict"] == "REJECT"
    assert facts["bad_candidate"]["rollout"]["state"] == "rolled_back"
    assert facts["bad_candidate"]["champion"] == canary["champion"]
    assert facts["bad_candidate"]["clients"]["failed"] == 0


def test_a_repeated_demo_finds_everything_done(
    first: tuple[dict[str, Any], float], environment: dict[str, str]
) -> None:
    done, summary, seconds = demo(environment)
    assert done.returncode == 0
    assert summary["ok"] is True
    assert seconds < first[1]
    line = next(line for line in done.stdout.splitlines() if line.strip().startswith("curl "))
    answer = subprocess.run(
        ["sh", "-c", line.replace("curl -s", "curl -sf")], capture_output=True, text=True, check=False
    )
    if answer.returncode == 127:
        pytest.skip("there is no curl on this machine to paste the printed prediction into")
    scored = json.loads(answer.stdout)
    assert 0 <= scored["probability"] <= 1
    assert (scored["unknown"], scored["degraded"]) == ([], False)


def test_a_prediction_needs_the_key(first: tuple[dict[str, Any], float], environment: dict[str, str]) -> None:
    url = f"http://127.0.0.1:{environment['TIDEMILL_PORT_BASE']}/fraud/predict"
    assert httpx.post(url, json={}).status_code == 401
