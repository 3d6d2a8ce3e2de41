"""A disk that is full: a few megabytes mounted for a test, or without root a limit on the size of every file."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = {errno.ENOSPC, errno.EFBIG}
_ROOM = 4 << 20


class Disk:
    """A folder on it; `fill` leaves no room on it until `empty`."""

    def __init__(self, folder: Path, *, mounted: bool) -> None:
        self.folder, self.mounted = folder, mounted
        self._filler = folder / ".filler"
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self, room: int = 0) -> None:
        """Nothing can be written now; of a mounted one that many bytes still can."""
        if not self.mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_024, self._limits[1]))
            return
        with self._filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            file.truncate(max(0, file.tell() - room))

    def empty(self) -> None:
        """There is room again."""
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)
        self._filler.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, room: int = _ROOM) -> Iterator[Disk]:
    """An empty disk of so many bytes at a folder that is not there yet."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={room}", "tidemill-test", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    disk = Disk(folder, mounted=mounted)
    try:
        yield disk
    finally:
        disk.empty()
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
