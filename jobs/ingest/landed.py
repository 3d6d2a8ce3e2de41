"""The landing zone: immutable files, named by their content."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from jobs import mirror
from jobs.errors import DataRejected, TamperedError, UsageError
from jobs.lake import Lake, address
from jobs.storage import digest_file

DUPLICATE = ".duplicate.json"
_NAME = re.compile(r"(?P<sha>[0-9a-f]{16})-(?P<name>.+)\Z", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class LandedFile:
    """A delivery: a file, or the record that a file was delivered once more."""

    path: Path
    """Where the bytes are; a duplicate's are those first delivered."""
    key: str
    """Its name in the landing zone, which holds the first digits of its digest."""
    name: str
    """Its name as delivered."""
    duplicate: bool = False

    @property
    def sha16(self) -> str:
        return self.key[:16]


def landed(lake: Lake, project: str, source: str, day: date) -> list[LandedFile]:
    """What was delivered on a day, in the order of the files' names; raises TamperedError for a stray record."""
    folder = lake.landing(project, source, day)
    keys = mirror.names(folder)
    files = [_landed_file(folder, key, match["name"]) for key in keys if (match := _NAME.match(key))]
    return sorted(files, key=lambda file: (file.duplicate, file.name, file.key))


def _landed_file(folder: Path, key: str, name: str) -> LandedFile:
    if not key.endswith(DUPLICATE):
        return LandedFile(path=folder / key, key=key, name=name)
    try:
        record = json.loads(mirror.read(folder / key) or b"")
        return LandedFile(path=folder.parent / record["of"], key=key, name=record["name"], duplicate=True)
    except (ValueError, KeyError, TypeError) as error:
        raise TamperedError(
            f"{address(folder / key)} is not a duplicate's record ({error}); remove it and land the file again"
        ) from None


def known_contents(lake: Lake, project: str, source: str) -> dict[str, Path]:
    """Where every content of a source lies, by the first digits of its digest."""
    root = lake.landing(project, source, date.min).parent
    return dict(_contents(root))


def _contents(root: Path) -> Iterator[tuple[str, Path]]:
    for folder in mirror.partitions(root):
        for name in mirror.names(folder):
            if (match := _NAME.match(name)) and not name.endswith(DUPLICATE):
                yield match["sha"], folder / name


def check_name(path: Path) -> None:
    """Raises UsageError for a name that could not be kept, or that is ours."""
    if not path.name.isprintable() or len(path.name.encode(errors="replace")) > 180 or path.name.endswith(DUPLICATE):
        raise UsageError(
            f"file name {path.name[:80]!r} cannot be landed: at most 180 bytes, printable, not ending in {DUPLICATE}; "
            "rename it and land it again"
        )


def store(path: Path, folder: Path, known: dict[str, Path]) -> str:
    """Copies one file into a day's folder: "landed", "duplicate" (recorded, not stored) or "unchanged".

    Raises DataRejected when the file cannot be read. `known` learns what was stored.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".landing-", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as copy, path.open("rb") as original:
            shutil.copyfileobj(original, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())
        sha256 = digest_file(Path(temporary))
        target = folder / f"{sha256[:16]}-{path.name}"
        record = target.with_name(target.name + DUPLICATE)
        if mirror.exists(target) or mirror.exists(record):
            return "unchanged"
        if first := known.get(sha256[:16]):
            of = first.relative_to(folder.parent).as_posix()
            mirror.write(record, json.dumps({"sha256": sha256, "name": path.name, "of": of}).encode())
            return "duplicate"
        mirror.create(target, Path(temporary))
        Path(temporary).chmod(0o444)
        Path(temporary).replace(target)
        known[sha256[:16]] = target
    except OSError as error:
        raise DataRejected(f"{path} could not be landed: {error.strerror or error}; nothing of it was kept") from None
    finally:
        Path(temporary).unlink(missing_ok=True)
    return "landed"


def contents(file: LandedFile) -> bytes:
    """The delivered bytes; raises TamperedError when they were removed from the landing zone."""
    try:
        return mirror.fetch_file(file.path).read_bytes()
    except FileNotFoundError:
        raise TamperedError(f"{address(file.path)}, delivered as {file.name}, is gone; land the file again") from None


def is_intact(file: LandedFile, data: bytes) -> bool:
    """Whether the bytes are still those the file was named by."""
    return hashlib.sha256(data).hexdigest().startswith(file.sha16)
