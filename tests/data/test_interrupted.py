"""Real processes of the command line, killed or raced at the named moments of publishing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import date, timedelta
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from random import Random

import pytest

from jobs.batch import Batches
from jobs.lake import Lake
from jobs.settings import ROOT, Settings
from jobs.stages import ingest as ingest_stage
from jobs.storage import current, verify
from tests.data.deliveries import DAY, FRAUD, accepted, csv, deliver, payment

ROWS = [payment(number) for number in range(20)]


def start(settings: Settings, *arguments: str, pause: str = "") -> subprocess.Popen[str]:
    environment = os.environ | {
        "TIDEMILL_HOME": str(settings.home), "TIDEMILL_LAKE_URI": settings.lake_uri, "TIDEMILL_FAULT_PAUSE": pause
    }  # fmt: skip
    command = [sys.executable, "-m", "jobs", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


def ingest(settings: Settings, pause: str = "") -> subprocess.Popen[str]:
    return start(settings, "ingest", "--project", "fraud", "--batch", DAY.isoformat(), pause=pause)


def stopped(process: subprocess.Popen[str]) -> subprocess.Popen[str]:
    """The process, once it has stopped itself."""
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), f"it ended instead of pausing: {process.communicate()}"
    return process


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out + err


def raw(settings: Settings) -> Path:
    return Lake(settings.lake_uri).raw("fraud", "transactions", DAY)


@pytest.mark.parametrize(
    ("phase", "visible"),
    [pytest.param("manifest", False, marks=pytest.mark.fault("F01")),
     pytest.param("pointer", False, marks=pytest.mark.fault("F02")),
     pytest.param("published", True, marks=pytest.mark.fault("F03"))],
)  # fmt: skip
def test_a_stage_that_is_killed_publishes_all_or_nothing_and_its_retry_ends_like_a_clean_run(
    settings: Settings, tmp_path: Path, phase: str, visible: bool
) -> None:
    clean = settings.model_copy(update={"lake_uri": str(tmp_path / "clean")})
    for one in (settings, clean):
        deliver(one, {"day.csv": csv(ROWS)})
    assert finish(ingest(clean))[0] == 0
    expected = current(raw(clean))
    assert expected is not None

    killed = stopped(ingest(settings, pause=phase))
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    assert (current(raw(settings)) is not None) is visible

    code, text = finish(ingest(settings))
    assert (code, "20 accepted" in text) == (0, True)
    published = current(raw(settings))
    assert published is not None
    assert (published.digest, published.epoch) == (expected.digest, 1)
    verify(published)
    assert len(list(raw(settings).glob("v-*"))) == 1


@pytest.mark.fault("F02")
def test_killed_before_the_pointer_the_old_version_is_read_on(settings: Settings) -> None:
    deliver(settings, {"day.csv": csv(ROWS)})
    assert finish(ingest(settings))[0] == 0
    deliver(settings, {"more.csv": csv([payment(99)])})
    killed = stopped(ingest(settings, pause="pointer"))
    killed.kill()
    killed.wait()
    assert len(accepted(settings)) == 20
    assert finish(ingest(settings))[0] == 0
    assert len(accepted(settings)) == 21


@pytest.mark.fault("F07")
def test_of_two_runs_at_once_one_publishes_and_the_other_finds_it_published(settings: Settings) -> None:
    deliver(settings, {"day.csv": csv(ROWS)})
    slow = stopped(ingest(settings, pause="manifest"))
    assert finish(ingest(settings))[0] == 0
    slow.send_signal(signal.SIGCONT)
    assert finish(slow)[0] == 0
    published = current(raw(settings))
    assert published is not None
    assert published.epoch == 1
    assert len(list(raw(settings).glob("v-*"))) == 1
    assert not list(raw(settings).glob(".staging-*"))


def backfill_in(settings: Settings, lakes: list[str], orders: list[list[date]], together: Barrier) -> None:
    """A process that ingests the same days into each lake, in an order of its own."""
    for lake, days in zip(lakes, orders, strict=True):
        own = settings.model_copy(update={"lake_uri": lake})
        together.wait(120)
        for day in days:
            ingest_stage.run(FRAUD, own, batches=Batches(day, day))


@pytest.mark.fault("F09")
def test_backfills_of_overlapping_days_at_once_publish_each_day_once_in_every_order(
    settings: Settings, tmp_path: Path
) -> None:
    days = list(Batches(DAY, DAY + timedelta(days=5)))
    lakes = [str(tmp_path / f"lake-{seed}") for seed in range(5)]
    for lake in lakes:
        own = settings.model_copy(update={"lake_uri": lake})
        for day in days:
            rows = [payment(number, event_time=f"{day}T10:00:{number:02d}Z") for number in range(30)]
            deliver(own, {f"day-{day}.csv": csv(rows)}, day)
    random, spawn = Random(9), get_context("spawn")
    orders = [[random.sample(part, len(part)) for _ in lakes] for part in (days[:4], days[2:])]
    together = spawn.Barrier(2)
    both = [spawn.Process(target=backfill_in, args=(settings, lakes, order, together)) for order in orders]
    for process in both:
        process.start()
    for process in both:
        process.join(200)
    assert [process.exitcode for process in both] == [0, 0]
    ends = []
    for lake in lakes:
        found = [current(Lake(lake).raw("fraud", "transactions", day)) for day in days]
        assert [one and (one.epoch, one.manifest.rows) for one in found] == [(1, 30)] * len(days)
        assert not list(Path(lake).rglob(".staging-*"))
        ends.append([one.digest for one in found if one])
    assert ends == [ends[0]] * len(lakes)
    again = ingest_stage.run(
        FRAUD, settings.model_copy(update={"lake_uri": lakes[0]}), batches=Batches(days[0], days[-1])
    )
    assert (again.exit_code, again.facts["changed"]) == (0, 0)


@pytest.mark.fault("F10")
def test_a_slow_run_that_saw_fewer_files_cannot_replace_one_that_saw_all(settings: Settings) -> None:
    deliver(settings, {"day.csv": csv(ROWS)})
    slow = stopped(ingest(settings, pause="manifest"))
    deliver(settings, {"more.csv": csv([payment(99)])})
    assert finish(ingest(settings))[0] == 0
    slow.send_signal(signal.SIGCONT)
    code, text = finish(slow)
    assert (code, "StalePublishError" in text) == (1, True)
    assert len(accepted(settings)) == 21


@pytest.mark.fault("F61")
@pytest.mark.parametrize(
    "arguments",
    [("--project", "fraud", "--batch", "$(touch pwned)"), ("--project", "fraud", "--batch", "2026-01-10\n"),
     ("--project", "fraud", "--batch", "2026-01-10'; drop table x; --"),
     ("--project", "'; touch pwned; '", "--batch", "2026-01-10"), ("--project", "../fraud", "--batch", "2026-01-10"),
     ("--project", "fraud", "--batch", "2026-01-10", "--source", "../transactions")],
)  # fmt: skip
def test_arguments_are_values_and_never_run(settings: Settings, arguments: tuple[str, ...]) -> None:
    code, text = finish(start(settings, "ingest", *arguments))
    assert code in (1, 2)
    assert "Traceback" not in text
    assert len(text.splitlines()) == 1
    assert not list(settings.home.rglob("pwned"))
    assert not (ROOT / "pwned").exists()
    assert not Path(settings.lake_uri).exists()
