"""What the online store leaves on the disk of the machine that serves."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from jobs.errors import ServiceError
from jobs.features.online.backend import Change
from jobs.features.online.sqlite import SQLite

KEYS, AT_ONCE, SWAPS, BYTES = 1_000, 400, 200, 2_000
MARK = bytes(24)


def _value(number: int) -> bytes:
    return MARK + bytes([number % 256]) * BYTES


def _updates(folder: Path, first: int) -> None:
    """What a slot writes that never rests."""
    store, done = SQLite(str(folder), "fraud"), 0
    while done < SWAPS:
        keys = (f"k{(first + done * AT_ONCE + number) % KEYS}" for number in range(AT_ONCE))
        changes: list[Change] = [(key, MARK, _value(done)) for key in keys]
        try:
            assert all(store.swap(changes, patient=False))
            done += 1
            time.sleep(0.001)
        except ServiceError:  # the other slot's turn
            continue


def test_two_slots_that_write_without_rest_do_not_fill_the_disk(tmp_path: Path) -> None:
    store = SQLite(str(tmp_path), "fraud")
    store.ensure()
    store.put((f"k{number}", _value(0)) for number in range(KEYS))
    slots = [threading.Thread(target=_updates, args=(tmp_path, first)) for first in (0, KEYS // 2)]
    for slot in slots:
        slot.start()
    for slot in slots:
        slot.join()
    written = len(slots) * SWAPS * AT_ONCE * BYTES
    kept = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert kept < written / 2, f"{kept:,} bytes are kept of {written:,} that were written over one another"
