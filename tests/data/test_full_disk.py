"""Disks and memory that run out: nothing half-written is left, the old version is read on, and with room it works again."""

from __future__ import annotations

import os
import random
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.batch import Batches
from jobs.errors import DataRejected, MachineError, ServiceError, of_machine
from jobs.features.online.sqlite import SQLite
from jobs.settings import ROOT, Settings
from jobs.stages import ingest
from tests.data.deliveries import DAY, FRAUD, accepted, csv, deliver, payment, take_in
from tests.data.test_interrupted import finish, raw, start
from tests.disks import FULL, Disk, small_disk

DAYS = Batches(DAY, DAY)
GOOD = [payment(number) for number in range(5)]
MANY = [payment(number, customer_id=f"{random.Random(number).getrandbits(200):x}") for number in range(3_000)]
_LIMITED = """
import resource, sys
import jobs.commands.data, jobs.stages.ingest, jobs.__main__
now = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (6 << 20), -1))
jobs.__main__.main()
"""
"""The command line with 6 MB more than it has once it is imported."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk") as made:
        yield made


@pytest.fixture
def settings(settings: Settings, disk: Disk) -> Settings:
    return settings.model_copy(update={"lake_uri": str(disk.folder / "lake")})


def rests(lake: str) -> list[Path]:
    return [path for path in Path(lake).rglob(".*") if path.name.startswith((".staging-", ".landing-"))]


@pytest.mark.fault("F14")
def test_a_full_disk_leaves_the_old_version_and_nothing_else(settings: Settings, disk: Disk) -> None:
    take_in(settings, {"day.csv": csv(GOOD)})
    deliver(settings, {"more.csv": csv(MANY)})
    disk.fill(room=16_384)
    with pytest.raises(OSError, match=r"No space left|File too large") as full:
        ingest.run(FRAUD, settings, batches=DAYS)
    assert full.value.errno in FULL
    assert isinstance(of_machine(full.value), MachineError)
    assert len(accepted(settings)) == 5
    assert not rests(settings.lake_uri)
    disk.empty()
    assert ingest.run(FRAUD, settings, batches=DAYS).exit_code == 0
    assert len(accepted(settings)) == len(MANY)


@pytest.mark.fault("F14")
def test_a_delivery_for_which_there_is_no_room_is_not_landed_in_part(settings: Settings, disk: Disk) -> None:
    take_in(settings, {"day.csv": csv(GOOD)})
    disk.fill()
    with pytest.raises(DataRejected, match="nothing of it was kept"):
        deliver(settings, {"more.csv": csv(MANY)})
    assert not rests(settings.lake_uri)
    disk.empty()
    assert deliver(settings, {"more.csv": csv(MANY)}).facts["landed"] == 1


@pytest.mark.fault("F14")
def test_the_command_line_says_in_one_line_that_a_disk_is_full(settings: Settings, disk: Disk) -> None:
    deliver(settings, {"day.csv": csv(MANY)})
    disk.fill()
    code, text = finish(start(settings, "ingest", "--project", "fraud", "--batch", DAY.isoformat()))
    assert (code, len(text.splitlines())) == (1, 1), text
    assert text.startswith("MachineError: a disk is full (OSError: [Errno ")
    assert "run the same command again" in text
    assert not (raw(settings) / "current.json").exists()


@pytest.mark.fault("F15")
def test_a_full_disk_leaves_the_online_store_whole_and_it_goes_on_with_room(disk: Disk) -> None:
    store = SQLite(str(disk.folder), "fraud")
    store.ensure()
    value = bytes(64) + random.Random(1).randbytes(2_000)
    store.put((f"k{number}", value) for number in range(50))
    disk.fill(room=65_536)
    with pytest.raises(ServiceError, match=r"does not answer: (database or disk is full|disk I/O error)"):
        store.put((f"n{number}", value) for number in range(2_000))
    disk.empty()
    store.close()
    with sqlite3.connect(store.label) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
    assert store.get([f"k{number}" for number in range(50)], patient=True) == {f"k{n}": value for n in range(50)}
    assert store.put((f"n{number}", value) for number in range(600)) == 600
    store.close()


@pytest.mark.fault("F12")
def test_memory_that_runs_out_publishes_nothing_and_is_told_in_one_line(settings: Settings) -> None:
    settings = settings.model_copy(update={"lake_uri": str(settings.home / "lake")})
    many = csv(MANY).partition(b"\n")
    deliver(settings, {"day.csv": many[0] + b"\n" + many[2] * 12})
    environment = os.environ | {
        "TIDEMILL_HOME": str(settings.home), "TIDEMILL_LAKE_URI": settings.lake_uri, "OPENBLAS_NUM_THREADS": "1",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
    }  # fmt: skip
    command = [sys.executable, "-c", _LIMITED, "ingest", "--project", "fraud", "--batch", DAY.isoformat()]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert (ran.returncode, len(ran.stderr.splitlines())) == (1, 1), ran.stderr
    assert ran.stderr.startswith("MachineError: memory ran out (")
    assert "TIDEMILL_COMPUTE" in ran.stderr
    assert not (raw(settings) / "current.json").exists()
    assert not rests(settings.lake_uri)
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY
    assert ingest.run(FRAUD, settings, batches=DAYS).facts["accepted"] == len(MANY)


@pytest.mark.fault("F12")
@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("std::bad_alloc"),
        RuntimeError("java.lang.OutOfMemoryError: Java heap space\n\tat …"),
    ],
    ids=str,
)
def test_what_libraries_say_of_memory_is_told_as_such(error: Exception) -> None:
    told = of_machine(error)
    assert told is not None
    assert str(told).startswith("memory ran out (")
    assert "\n" not in str(told)
    assert of_machine(ValueError("no memory of that")) is None
