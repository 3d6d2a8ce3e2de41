"""The ways a release may walk: in the shadow first, all at once, or half way until an experiment ends."""

from __future__ import annotations

import signal
import subprocess
import time
from datetime import date

import pytest

from jobs.rollout.router import Router
from jobs.rollout.routes import Sharing
from jobs.rollout.verdict import Decision
from tests.rollout.conftest import PROJECT, Installation, load

pytestmark = [pytest.mark.services, pytest.mark.timeout(240)]
STABLE = {"blue": 100, "green": 0}


def champion(installation: Installation) -> tuple[int, str] | None:
    with installation.ledger() as ledger:
        found = ledger.champion(PROJECT.name)
        epochs = [one.epoch for one in ledger.history(PROJECT.name)]
    assert epochs == list(range(1, len(epochs) + 1)), "the history is a line"
    return (found.epoch, found.release) if found else None


def challenged(installation: Installation, policy: str) -> tuple[str, str]:
    """The champion's release and the challenger's, under a policy."""
    held = installation.become_champion().release
    installation.policy = policy
    return held, installation.challenger().release


@pytest.mark.fault("F57")
def test_a_release_is_asked_in_the_shadow_first_and_watched_once_more_at_the_end(installation: Installation) -> None:
    held, fresh = challenged(installation, "shadow")
    with load(installation) as traffic:
        assert installation.ask("start")[0] == 0
        code, facts = installation.ask("step", percent=50)
        assert (code, "tidemill rollout shadow" in facts["error"]) == (1, True), "the shadow comes first"
        assert installation.killed_at("rollout-weights", "shadow") == -signal.SIGKILL
        code, facts = installation.decided("shadow")
        assert (code, facts["verdict"], facts["step"]) == (0, "PROMOTE", "shadow"), facts
        checks = {check["name"]: check for check in facts["checks"]}
        assert checks["compared"]["value"] >= 60
        assert checks["mirrored"]["value"] >= 0.9
        assert checks["decisions"]["samples"]["compared"] == checks["compared"]["value"]
        assert Router(installation.settings).sharing(PROJECT.name) == Sharing(
            weights=STABLE, stable="blue", shadow="green"
        )
        assert traffic.releases.keys() == {held}, "nobody was answered by the shadow"
        assert installation.walk(50)[0] == 0
        assert Router(installation.settings).sharing(PROJECT.name).shadow is None
        assert installation.walk(100)[0] == 0
        code, facts = installation.ask("promote")
        assert (code, "tidemill rollout bake" in facts["error"]) == (1, True)
        assert installation.killed_at("rollout-judged", "bake") == -signal.SIGKILL
        assert installation.decided("bake")[0] == 0
        code, facts = installation.promoted()
        assert (code, facts["state"]) == (0, "promoted"), facts
    assert set(traffic.statuses) == {200}
    assert champion(installation) == (2, fresh)
    steps = [one["step"] for one in installation.ask("status")[1]["verdicts"]]
    assert steps == ["start", "shadow", "50", "100", "bake", "promotion"]


@pytest.mark.fault("F56")
def test_a_shadow_that_fails_is_rolled_back_before_anybody_is_exposed(installation: Installation) -> None:
    held, _ = challenged(installation, "shadow")
    with load(installation) as traffic:
        assert installation.ask("start", rehearse="errors")[0] == 0
        code, facts = installation.decided("shadow")
    assert (code, facts["verdict"], facts["step"]) == (1, "ROLL BACK", "shadow")
    assert "requests failed" in facts["reason"]
    assert (set(traffic.statuses), traffic.releases.keys()) == ({200}, {held})
    sharing = Router(installation.settings).sharing(PROJECT.name)
    assert sharing == Sharing(weights=STABLE, stable="blue")
    kept = installation.ask("status")[1]["kept"]
    assert kept["slot"].startswith(installation.slots.url(PROJECT.name, "green"))
    assert list((installation.lake.shadow(PROJECT.name, date.min).parent).rglob("*.jsonl"))


@pytest.mark.fault("F57")
@pytest.mark.parametrize("phase", ["begun", "weights"])
def test_a_start_or_a_write_of_weights_killed_half_way_is_finished_by_the_next(
    installation: Installation, phase: str
) -> None:
    _, fresh = challenged(installation, "walk")
    if phase == "begun":
        assert installation.killed_at("rollout-begun", "start") == -signal.SIGKILL
        assert installation.weights == STABLE
    assert installation.ask("start")[1]["release"] == fresh
    if phase == "weights":
        assert installation.killed_at("weights", "step", "--percent", "5") == -signal.SIGKILL
        assert installation.weights == STABLE, "killed with the new weights in its hand"
        assert installation.ask("status")[1]["percent"] == 5, "the ledger knows already"
    assert installation.ask("step", percent=5)[0] == 99
    assert installation.weights == {"blue": 95, "green": 5}


def test_all_at_once_and_back_within_seconds_without_a_failed_request(installation: Installation) -> None:
    held, fresh = challenged(installation, "blue_green")
    with load(installation, clients=4) as traffic:
        assert installation.ask("start")[0] == 0
        code, facts = installation.walk(100)
        assert (code, installation.weights) == (0, {"blue": 0, "green": 100}), facts
        before = dict(traffic.releases)
        assert before[fresh] > 0
        began = time.monotonic()
        assert installation.ask("abort", reason="support calls")[0] == 0
        Router(installation.settings).drain(PROJECT.name, "green", 30)
        took, after = time.monotonic() - began, traffic.releases[fresh]
        time.sleep(1)
        assert traffic.releases[fresh] <= after + 4, "answers on their way to the clients, and no more"
    assert took < 60
    assert set(traffic.statuses) == {200}
    assert (champion(installation), installation.weights) == ((1, held), STABLE)


@pytest.mark.fault("F50")
def test_a_promotion_and_an_abort_at_once_end_in_one_of_the_two(installation: Installation) -> None:
    held, fresh = challenged(installation, "blue_green")
    with load(installation, clients=4) as traffic:
        assert installation.ask("start")[0] == 0
        assert installation.walk(100)[0] == 0
        time.sleep(3)  # the replay asks only about answers that have settled
        both = [
            subprocess.Popen(installation.command(action), env=installation.environment(),
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for action in ("promote", "abort")
        ]  # fmt: skip
        for one in both:
            one.wait(60)
    state = installation.ask("status")[1]["state"]
    assert state in ("promoted", "aborted")
    assert champion(installation) == ((2, fresh) if state == "promoted" else (1, held))
    assert installation.weights == ({"blue": 0, "green": 100} if state == "promoted" else STABLE)
    assert set(traffic.statuses) == {200}


@pytest.mark.fault("F50")
def test_an_abort_that_comes_after_the_promotion_won_finishes_it(installation: Installation) -> None:
    _, fresh = challenged(installation, "blue_green")
    with load(installation, clients=4):
        assert installation.ask("start")[0] == 0
        assert installation.walk(100)[0] == 0
        time.sleep(3)
        assert installation.killed_at("rollout-promoted", "promote") == -signal.SIGKILL
    assert champion(installation) == (2, fresh), "it won, and was killed before it could say so"
    code, facts = installation.ask("abort")
    assert (code, facts["state"], installation.weights) == (0, "promoted", {"blue": 0, "green": 100})
    assert champion(installation) == (2, fresh)


def test_an_experiment_decides_at_half_of_the_traffic(installation: Installation) -> None:
    _, fresh = challenged(installation, "ab")
    with load(installation, clients=4):
        assert installation.ask("start")[0] == 0
        deadline = time.monotonic() + 60
        while "the experiment has decided nothing yet" not in installation.ask("step", percent=50)[1]["reason"]:
            assert time.monotonic() < deadline
            time.sleep(1)
        assert installation.weights == {"blue": 50, "green": 50}
        with installation.ledger() as ledger:
            ledger.record_verdict(PROJECT.name, "experiment", fresh, Decision.HOLD, {"reason": "too few labels"})
        assert installation.ask("step", percent=50)[0] == 99
        with installation.ledger() as ledger:
            ledger.record_verdict(PROJECT.name, "experiment", fresh, Decision.ROLL_BACK, {"reason": "worse by 3 %"})
        code, facts = installation.ask("step", percent=50)
    assert (code, facts["reason"], installation.weights) == (1, "at half of the traffic: worse by 3 %", STABLE)
