"""`tidemill experiment` on real servers: a canary's project holds at half of the traffic because it was asked to."""

from __future__ import annotations

import time
from typing import Any

import pytest

from jobs.errors import TidemillError
from jobs.rollout.verdict import Decision
from jobs.stages import experiment
from tests.rollout.conftest import PROJECT, Installation, load
from tests.rollout.policies import PROJECTS

pytestmark = [pytest.mark.services, pytest.mark.timeout(240)]
STABLE, HALF = {"blue": 100, "green": 0}, {"blue": 50, "green": 50}


def ask(installation: Installation, action: str) -> tuple[int, Any, str]:
    got = experiment.run(PROJECTS["asked for"], installation.settings, action=action)
    return got.exit_code, got.facts, got.line


def held(installation: Installation) -> None:
    """Waits until only the experiment holds the release at half of the traffic."""
    deadline = time.monotonic() + 60
    while installation.ask("step", percent=50)[1]["rule"] != "experiment":
        assert time.monotonic() < deadline
        time.sleep(1)
    assert installation.weights == HALF


def test_an_experiment_holds_at_half_and_ends_as_it_was_decided(installation: Installation) -> None:
    installation.become_champion()
    installation.policy = "asked for"
    lost = installation.challenger().release
    with load(installation, clients=4) as traffic:
        for _ in range(2):
            code, facts, line = ask(installation, "start")
            assert (code, facts["release"], facts["verdict"]) == (0, lost, "HOLD"), line
        assert ask(installation, "read")[0] == 99, "it is not there yet"
        held(installation)
        code, facts, line = ask(installation, "read")
        assert (code, facts["verdict"], facts["rule"]) == (99, "HOLD", "share")
        assert "no prediction is ingested yet" in line
        code, facts, line = ask(installation, "stop")
        assert (code, facts["state"], installation.weights) == (1, "aborted", STABLE), line
        won = installation.challenger().release
        assert ask(installation, "start")[1]["release"] == won
        held(installation)
        with installation.ledger() as ledger:
            document = {"verdict": "PROMOTE", "rule": "", "reason": "log_loss +0.01 better"}
            ledger.record_verdict(PROJECT.name, "experiment", won, Decision.PROMOTE, document)
        code, facts, line = ask(installation, "stop")
        assert (code, facts["verdict"], facts["state"]) == (0, "PROMOTE", "walking"), line
        assert installation.walk(100)[0] == 0
        assert installation.weights == {"blue": 0, "green": 100}
    assert set(traffic.statuses) == {200}
    assert installation.ask("abort")[0] == 0


def test_a_walk_under_way_is_no_experiment(installation: Installation) -> None:
    installation.become_champion()
    installation.policy = "asked for"
    installation.challenger()
    assert installation.ask("start")[0] == 0
    with pytest.raises(TidemillError, match="is being rolled out as canary; no experiment was started"):
        ask(installation, "start")
    assert ask(installation, "stop")[0] == 99
    assert installation.ask("abort")[0] == 0
