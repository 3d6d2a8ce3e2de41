"""Real processes of the command line, killed or raced at the named moments of publishing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.lake import Lake
from jobs.settings import ROOT, Settings
from jobs.storage import current, verify
from tests.data.deliveries import DAY, accepted, csv, deliver, payment

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
