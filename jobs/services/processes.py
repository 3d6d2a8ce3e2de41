"""The processes and ports of one installation, found in /proc: also those whose supervisor is gone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from jobs.services import places
from jobs.settings import Settings

_LISTEN = "0A"


@dataclass(frozen=True)
class Process:
    """One process as /proc shows it."""

    pid: int
    parent: int
    group: int
    session: int
    zombie: bool


def ours(settings: Settings) -> list[Process]:
    """Every living process of this installation's services, but not this one or those that started it.

    Known by the marker in their environment, by sharing a session with one that has it, or by descent.
    """
    everything = {process.pid: process for process in _all()}
    marker = f"{places.MARKER}={places.home(settings)}".encode()
    marked = {pid for pid in everything if marker in _environment(pid)}
    sessions = {everything[pid].session for pid in marked} - {os.getsid(0)}
    found = marked | {pid for pid, process in everything.items() if process.session in sessions}
    grown = True
    while grown:
        children = {pid for pid, process in everything.items() if process.parent in found}
        grown = not children <= found
        found |= children
    found -= _ancestors(everything)
    return [everything[pid] for pid in sorted(found) if not everything[pid].zombie]


def end(settings: Settings, grace: float = 5.0) -> int:
    """Ends every process of ours, politely and then not; returns how many there were."""
    first = ours(settings)
    remaining = first
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        for process in remaining:
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)
        deadline = time.monotonic() + seconds
        while (remaining := ours(settings)) and time.monotonic() < deadline:
            time.sleep(0.1)
        if not remaining:
            break
    return len(first)


def listening() -> dict[int, set[str]]:
    """The TCP ports of this machine that something listens on, each with its addresses in hexadecimal."""
    found: dict[int, set[str]] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(FileNotFoundError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN:
                    address, _, number = fields[1].rpartition(":")
                    found.setdefault(int(number, 16), set()).add(address)
    return found


def holders(ports: Iterable[int]) -> dict[int, str]:
    """Who listens on each of these ports, as `pid 12 (name)`; a port nobody listens on is left out."""
    wanted = set(ports) & set(listening())
    if not wanted:
        return {}
    inodes = _listening_inodes(wanted)
    found = dict.fromkeys(wanted, "another user's process")
    for process in _all():
        for descriptor in _descriptors(process.pid):
            if descriptor in inodes:
                found[inodes[descriptor]] = f"pid {process.pid} ({_name(process.pid)})"
    return found


def _listening_inodes(ports: set[int]) -> dict[str, int]:
    found = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(FileNotFoundError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                number = int(fields[1].rpartition(":")[2], 16)
                if fields[3] == _LISTEN and number in ports:
                    found[f"socket:[{fields[9]}]"] = number
    return found


def _descriptors(pid: int) -> list[str]:
    found = []
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found.append(str(entry.readlink()))
    return found


def _all() -> list[Process]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                state, parent, group, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                found.append(Process(int(entry.name), int(parent), int(group), int(session), state in "ZX"))
    return found


def _environment(pid: int) -> list[bytes]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return []


def _name(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return "gone"


def _ancestors(everything: dict[int, Process]) -> set[int]:
    found, pid = set(), os.getpid()
    while pid in everything:
        found.add(pid)
        pid = everything[pid].parent
    return found
