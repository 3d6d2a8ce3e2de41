"""Free ports for tests that start servers."""

from __future__ import annotations

import os
import socket

from jobs.services.ports import offsets


def free_port_base() -> int:
    """A port base, below the range the kernel hands out itself, whose every port is free now.

    Two processes that look at once begin in different blocks.
    """
    first = 20_000 + 50 * (os.getpid() % 230)
    for base in (*range(first, 32_000, 50), *range(20_000, first, 50)):
        if all(_free(base + offset) for offset in offsets().values()):
            return base
    raise AssertionError("no free block of ports below 32000")


def _free(number: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", number)) != 0
