"""Releases moved through real traffic: a router, two slots, a ledger, and clients that keep asking."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from contextlib import closing

import httpx
import pytest

from jobs.services import supervisor
from jobs.services.ports import url
from jobs.storage import MANIFEST
from tests.rollout.conftest import PROJECT, Installation, load

pytestmark = [pytest.mark.services, pytest.mark.timeout(240)]


def champion(installation: Installation) -> tuple[int, str] | None:
    with installation.ledger() as ledger:
        found = ledger.champion(PROJECT.name)
    return (found.epoch, found.release) if found else None


def test_a_first_release_then_a_better_one_walk_to_champion_and_no_request_is_lost(installation: Installation) -> None:
    code, facts = installation.ask("start")
    assert (code, "no challenger" in facts["reason"]) == (99, True)
    assert installation.ask("step", percent=5)[0] == 1

    first = installation.challenger()
    code, facts = installation.ask("start")
    assert (code, facts["state"], facts["slot"], facts["stable_slot"]) == (0, "started", "blue", None)
    assert installation.ask("start")[1]["started_at"] == facts["started_at"], "a second start is the same rollout"
    assert installation.ask("promote")[0] == 1
    for percent in PROJECT.canary.steps:
        assert installation.ask("step", percent=percent)[0] == 0
    code, facts = installation.ask("promote")
    assert (code, facts["state"], facts["epoch"]) == (0, "promoted", 1)
    assert "does not apply" in installation.ask("status")[1]["replayed"]["detail"]
    assert installation.ask("promote")[1] == facts
    assert champion(installation) == (1, first.release)
    assert installation.ask("start")[0] == 99

    second = installation.challenger()
    with load(installation) as traffic:
        code, facts = installation.ask("start")
        assert (code, facts["slot"], facts["stable_slot"]) == (0, "green", "blue")
        assert installation.weights == {"blue": 100, "green": 0}
        assert installation.ask("step", percent=25)[0] == 1, "a step cannot be skipped"
        installation.challenger()
        code, facts = installation.ask("start")
        assert code == 1
        assert "is being rolled out" in facts["error"]
        with installation.ledger() as ledger:
            ledger.set_challenger(PROJECT.name, second.release, second.digest, "test")
        for percent in PROJECT.canary.steps:
            code, facts = installation.walk(percent)
            assert (code, facts["verdict"]) == (0, "PROMOTE"), facts
            assert installation.weights == {"blue": 100 - percent, "green": percent}
        assert installation.ask("step", percent=25)[0] == 0, "a step that was passed stays passed"
        assert installation.weights["green"] == 100
        code, facts = installation.promoted()
        assert (code, facts["epoch"]) == (0, 2), facts["reason"]
    assert set(traffic.statuses) == {200}
    assert traffic.releases.keys() == {first.release, second.release}
    assert champion(installation) == (2, second.release)
    code, facts = installation.ask("status")
    said = [(one["percent"], one["verdict"]) for one in facts["verdicts"]]
    assert said == [
        (0, "PROMOTE"),
        (5, "PROMOTE"),
        (25, "PROMOTE"),
        (50, "PROMOTE"),
        (100, "PROMOTE"),
        (100, "PROMOTE"),
    ]
    assert facts["replayed"]["value"] >= PROJECT.replay.minimum_identical
    assert facts["challenger"] is None
    assert installation.slots.state(PROJECT.name, "blue")["release"] == first.release, "the old one stands by"
    assert installation.ask("abort")[1]["state"] == "promoted", "what has ended cannot be aborted"


def test_a_candidate_that_was_served_other_features_is_not_promoted(installation: Installation) -> None:
    held = installation.become_champion()
    installation.challenger()
    store = installation.settings.home / "online" / f"{PROJECT.name}.sqlite"
    with load(installation, clients=4) as traffic:
        assert installation.ask("start")[0] == 0
        for percent in PROJECT.canary.steps:
            code, facts = installation.walk(percent)
            assert code == 0, facts
        for _ in range(20):  # the store keeps losing what customers did before
            with closing(sqlite3.connect(store, timeout=30)) as connection, connection:
                connection.execute("delete from online where name like 'customer:c-%'")
            time.sleep(0.1)
        time.sleep(2.5)
        code, facts = installation.promoted()
    assert code == 1
    assert "before promotion: " in facts["reason"]
    assert "missing key" in facts["reason"]
    assert (facts["state"], installation.weights) == ("rolled_back", {"blue": 100, "green": 0})
    assert champion(installation) == (1, held.release)
    assert set(traffic.statuses) == {200}


@pytest.mark.fault("F56")
@pytest.mark.parametrize(("kind", "said"), [("errors", "requests failed"), ("slow", "ms beyond chance")])
def test_a_candidate_that_misbehaves_is_rolled_back_and_clients_see_no_error(
    installation: Installation, kind: str, said: str
) -> None:
    held = installation.become_champion()
    with load(installation) as traffic:
        code, facts = installation.ask("start", rehearse=kind)
        assert (code, facts["release"], facts["slot"]) == (0, held.release, "green")
        code, facts = installation.walk(5, seconds=100)
        assert (code, facts["verdict"]) == (1, "ROLL BACK")
        assert said in facts["reason"]
        assert installation.weights == {"blue": 100, "green": 0}
    assert installation.ask("step", percent=25)[0] == 1
    assert installation.ask("promote")[0] == 1
    assert set(traffic.statuses) == {200}
    assert champion(installation) == (1, held.release)
    assert installation.slots.assignment(PROJECT.name, "green").rehearse == kind  # type: ignore[union-attr]


@pytest.mark.fault("F55")
def test_a_candidate_killed_under_load_is_rolled_back_and_clients_see_no_error(installation: Installation) -> None:
    held = installation.become_champion()
    installation.challenger()
    with load(installation) as traffic:
        assert installation.ask("start")[0] == 0
        assert installation.ask("step", percent=5)[0] == 99
        pid = installation.slots.state(PROJECT.name, "green")["process"]
        os.kill(pid, signal.SIGKILL)
        code, facts = installation.walk(5)
        assert code == 1
        assert "at 5 %" in facts["reason"]
        assert "not ready" in facts["reason"] or "restarted" in facts["reason"]
        assert installation.weights == {"blue": 100, "green": 0}
    assert set(traffic.statuses) == {200}
    assert champion(installation) == (1, held.release)
    with installation.ledger() as ledger:
        assert ledger.challenger(PROJECT.name) is None


@pytest.mark.fault("F57")
@pytest.mark.parametrize("phase", ["entered", "weights", "judged", "replayed", "promoted"])
def test_a_controller_killed_anywhere_is_continued_by_the_next(installation: Installation, phase: str) -> None:
    installation.become_champion()
    fresh = installation.challenger()
    assert installation.ask("start")[0] == 0
    with load(installation, clients=4):
        at_the_end = phase in ("replayed", "promoted")
        if at_the_end:
            for percent in PROJECT.canary.steps:
                code, facts = installation.walk(percent)
                assert code == 0, facts
        arguments = ("promote",) if at_the_end else ("step", "--percent", "5")
        killed = installation.killed_at(f"rollout-{phase}", *arguments)
        assert killed == -signal.SIGKILL
        assert sum(installation.weights.values()) == 100
        if at_the_end:
            won = champion(installation) == (2, fresh.release)
            assert won is (phase == "promoted"), "it was killed right before or right after it had won"
            code, facts = installation.promoted()
            assert (code, facts["epoch"]) == (0, 2), facts["reason"]
            assert installation.weights == {"blue": 0, "green": 100}
        else:
            code, facts = installation.walk(5)
            assert (code, facts["verdict"], facts["percent"]) == (0, "PROMOTE", 5)
            assert installation.weights == {"blue": 95, "green": 5}


@pytest.mark.fault("F57")
def test_a_rollback_killed_half_way_is_finished_by_whoever_comes_next(installation: Installation) -> None:
    installation.become_champion()
    installation.challenger()
    assert installation.ask("start")[0] == 0
    assert installation.ask("step", percent=5)[0] == 99
    assert installation.killed_at("rollout-back", "abort", "--reason", "test") == -signal.SIGKILL
    assert installation.weights == {"blue": 100, "green": 0}
    code, facts = installation.ask("step", percent=5)
    assert (code, facts["state"], facts["reason"]) == (1, "aborted", "test")


@pytest.mark.fault("F54")
def test_a_router_that_cannot_be_asked_is_no_evidence_and_a_restarted_one_counts_anew(
    installation: Installation,
) -> None:
    installation.become_champion()
    installation.challenger()
    assert installation.ask("start")[0] == 0
    rpc = supervisor.rpc(installation.settings)
    rpc.stopProcess("router", True)
    try:
        code, facts = installation.ask("step", percent=5)
        assert (code, facts["verdict"]) == (99, "HOLD")
        assert "no measurement" in facts["reason"]
    finally:
        rpc.startProcess("router", True)
    _answers(installation)
    with load(installation, clients=4):
        assert installation.walk(5)[1]["verdict"] == "PROMOTE"


def test_abort_gives_everything_back_at_once(installation: Installation) -> None:
    held = installation.become_champion()
    installation.challenger()
    assert installation.ask("start")[0] == 0
    assert installation.ask("step", percent=5)[0] == 99
    assert installation.weights == {"blue": 95, "green": 5}
    began = time.monotonic()
    code, facts = installation.ask("abort", reason="support calls")
    assert time.monotonic() - began < 20
    assert (code, facts["state"], facts["reason"]) == (0, "aborted", "support calls")
    assert installation.weights == {"blue": 100, "green": 0}
    assert installation.ask("abort")[0] == 0
    assert installation.ask("step", percent=5)[0] == 1
    assert champion(installation) == (1, held.release)


def test_a_tampered_release_never_leaves_the_start(installation: Installation) -> None:
    held = installation.become_champion()
    bad = installation.challenger()
    (bad.folder / "model.json").write_text("{}")
    code, facts = installation.ask("start")
    assert (code, facts["verdict"]) == (1, "ROLL BACK")
    assert "its bytes differ from the manifest" in facts["reason"]
    assert installation.weights == {"blue": 100, "green": 0}
    assert champion(installation) == (1, held.release)
    assert installation.ask("start")[0] == 99, "it is challenger no longer"
    code, facts = installation.ask("start", release="r-none")
    assert (code, "no release 'r-none'" in facts["error"]) == (1, True)
    assert (bad.folder / MANIFEST).exists()


def test_two_controllers_at_once_are_one_after_the_other(installation: Installation) -> None:
    installation.become_champion()
    installation.challenger()
    assert installation.ask("start")[0] == 0
    both = [
        subprocess.Popen(installation.command("step", "--percent", "5"), env=installation.environment(),
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]  # fmt: skip
    assert [one.wait(60) for one in both] == [99, 99]
    for one in both:
        one.communicate()
    assert installation.weights == {"blue": 95, "green": 5}


def _answers(installation: Installation) -> None:
    for _ in range(100):
        try:
            if httpx.get(f"{url(installation.settings, 'router')}/livez", timeout=1).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise AssertionError("the router did not come back")
