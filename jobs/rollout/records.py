"""The files that slots write their records to: their names, and their whole lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

SEGMENT = re.compile(r"(?:[0-9a-f]{16}-)?(blue|green)-([0-9]{4}-[0-9]{2}-[0-9]{2})-([0-9]+)-[0-9]+\.(?:open\.)?jsonl\Z")
"""The name of a file of records: its slot, the day of its events, and when it was begun, in nanoseconds."""


def files(folders: list[Path]) -> Iterator[Path]:
    """The files of records in the folders, each folder's in order; a folder may be missing."""
    for folder in folders:
        with suppress(FileNotFoundError):
            yield from sorted(path for path in folder.iterdir() if path.name.endswith(".jsonl"))


def lines(path: Path) -> bytes:
    """The file's whole lines; nothing when it was moved away meanwhile."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return b""
    return data[: data.rfind(b"\n") + 1]
