"""Atomic publishing: data files, then a manifest, then one pointer. Readers follow pointers only.

A partition folder looks like this; a version without a manifest, or that no pointer names, does not exist:

    batch=2026-11-20/
        v-3f6c…/part-00000.parquet  v-3f6c…/manifest.json
        current.json                {"version": "v-3f6c…", "manifest": sha256, "epoch": 2}
        audit.jsonl                 one line for every forced replacement
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from jobs import mirror
from jobs.errors import MissingBatchError, StalePublishError, TamperedError
from jobs.lake import address

POINTER, MANIFEST, AUDIT = "current.json", "manifest.json", "audit.jsonl"
_ABANDONED_SECONDS = 86_400
_REPAIR = "publish the batch again with --force"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a version holds and what it was made from."""

    rows: int
    files: Mapping[str, str]
    """SHA-256 of each data file by its path inside the version."""
    inputs: Mapping[str, str]
    """Digest of each input by a name a person recognises."""
    watermark: str
    """How far its inputs reach: it may only be replaced by one that reaches as far."""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 over the data files alone: equal data has equal digests, however it was made."""
        return digest_of(dict(self.files))


@dataclass(frozen=True, kw_only=True)
class Published:
    """A partition's current version."""

    partition: Path
    version: str
    manifest: Manifest
    epoch: int
    changed: bool = False
    """Whether the call that returned this wrote it."""

    @property
    def folder(self) -> Path:
        """The version's folder, with all its files here."""
        folder = self.partition / self.version
        mirror.fetch(folder, self.manifest.files)
        return folder

    @property
    def digest(self) -> str:
        return self.manifest.digest

    def address(self, name: str = "") -> str:
        """What a person calls the version's folder, or a file in it: `s3://…` where the lake is on S3."""
        return address(self.partition / self.version / name)

    def paths(self, suffix: str = ".parquet") -> list[str]:
        """The version's data files with that ending, in order, as absolute paths."""
        folder = self.folder
        return [str(folder / name) for name in sorted(self.manifest.files) if name.endswith(suffix)]


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON-able value with its keys in order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_code(*modules: ModuleType) -> str:
    """SHA-256 over the source files of modules: an input of whatever they compute."""
    return digest_of([digest_file(Path(str(module.__file__))) for module in modules])


def current(partition: Path) -> Published | None:
    """The partition's current version, or None; raises TamperedError when its manifest was altered."""
    for last in (False, True):  # a reader that was overtaken twice finds its version gone: it looks once more
        found = mirror.read(partition / POINTER)
        if found is None:
            return None
        try:
            pointer = json.loads(found)
        except ValueError:
            raise TamperedError(f"{address(partition / POINTER)} is not JSON; {_REPAIR}") from None
        folder = partition / str(pointer.get("version"))
        text = _manifest(folder, pointer.get("manifest"))
        if text is None:
            if last:
                raise TamperedError(f"{address(folder)}, which {POINTER} names, is not there; {_REPAIR}")
            continue
        if hashlib.sha256(text).hexdigest() != pointer.get("manifest"):
            raise TamperedError(f"{address(folder / MANIFEST)} is not what {POINTER} names; {_REPAIR}")
        manifest = Manifest(**json.loads(text))
        return Published(partition=partition, version=folder.name, manifest=manifest, epoch=pointer["epoch"])
    return None


def _manifest(folder: Path, digest: str | None) -> bytes | None:
    """A version's manifest; one that is here, mirrored and right is not asked for again: it never changes."""
    path = folder / MANIFEST
    if mirror.remote(path) and path.is_file():
        text = path.read_bytes()
        if hashlib.sha256(text).hexdigest() == digest:
            return text
    return mirror.read(path)


def require(partition: Path, command: str) -> Published:
    """The partition's current version; raises MissingBatchError naming the command that writes it."""
    found = current(partition)
    if found is None:
        raise MissingBatchError(f"nothing at {address(partition)}; it is written by `{command}`")
    return found


def verify(published: Published) -> None:
    """Raises TamperedError naming the first file whose bytes differ from the manifest."""
    folder = published.folder
    for name, expected in published.manifest.files.items():
        path = folder / name
        if mirror.remote(path) and digest_file(path) != expected:  # it was altered here: S3 has it as it was
            path.unlink()
            mirror.fetch(folder, {name: expected})
        if not path.is_file() or digest_file(path) != expected:
            raise TamperedError(f"{address(path)} is missing or altered; {_REPAIR}")


def publish(
    partition: Path,
    write: Callable[[Path], int],
    *,
    inputs: Mapping[str, str],
    watermark: str,
    facts: Mapping[str, Any] | None = None,
    force: bool = False,
) -> Published:
    """The version that `write` fills an empty folder with (it returns the rows), made current.

    The same inputs as the current version's are a no-op. Raises StalePublishError when the current
    version's watermark is newer, unless forced, which is audited. Interrupted anywhere, nothing changes.
    """
    partition.mkdir(parents=True, exist_ok=True)
    before = _before(partition, force)
    if before and dict(before.manifest.inputs) == dict(inputs) and not force:
        return before
    _refuse_stale(before, watermark, force)
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=partition))
    try:
        rows = write(staging)
        names = sorted(path.relative_to(staging).as_posix() for path in staging.rglob("*") if path.is_file())
        manifest = Manifest(
            rows=rows,
            files={name: digest_file(staging / name) for name in names},
            inputs=dict(inputs),
            watermark=watermark,
            facts=dict(facts or {}),
        )
        text = json.dumps(asdict(manifest), sort_keys=True, indent=1).encode()
        version = f"v-{hashlib.sha256(text).hexdigest()[:24]}"
        write_atomically(staging / MANIFEST, text)
        pause("manifest")
        with locked(partition):
            return _point(partition, staging, version, text, manifest, force)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _point(partition: Path, staging: Path, version: str, text: bytes, manifest: Manifest, force: bool) -> Published:
    folder = partition / version
    while True:  # on S3 others may publish meanwhile, and then everything is asked again
        tag = mirror.tag(partition / POINTER)
        before = _before(partition, force)
        if before and before.version == version and not (force and _is_damaged(before)):
            if force:  # whatever S3 made of it
                mirror.send(before.folder, last=MANIFEST)
            return before
        _refuse_stale(before, manifest.watermark, force)
        if staging.exists():
            if folder.exists():
                shutil.rmtree(folder)
            staging.chmod(0o755)
            staging.rename(folder)
        mirror.send(folder, last=MANIFEST)
        pause("pointer")
        if before and force:
            line = {"at": datetime.now(UTC).isoformat(), "replaced": before.version, "by": version,
                    "watermarks": [before.manifest.watermark, manifest.watermark]}  # fmt: skip
            mirror.append(partition / AUDIT, json.dumps(line) + "\n")
        epoch = _epoch(partition) + 1
        pointer = {"version": version, "manifest": hashlib.sha256(text).hexdigest(), "epoch": epoch}
        if mirror.swap(partition / POINTER, json.dumps(pointer).encode(), tag):
            break
    pause("published")
    _tidy(partition, version, before)
    return Published(partition=partition, version=version, manifest=manifest, epoch=epoch, changed=True)


def _tidy(partition: Path, version: str, before: Published | None) -> None:
    if before:  # readers that opened the replaced version keep it for one more epoch
        kept = (version, before.version)
        for old in partition.glob("v-*"):
            if old.name not in kept:
                shutil.rmtree(old, ignore_errors=True)
        mirror.remove_versions(partition, kept, time.time_ns() - _ABANDONED_SECONDS * 1_000_000_000)
    for left in partition.glob(".staging-*"):  # by a process that was killed
        if time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(left, ignore_errors=True)


def _before(partition: Path, force: bool) -> Published | None:
    """What is published now; force goes on where it cannot be read, because it is what repairs that."""
    try:
        return current(partition)
    except TamperedError:
        if force:
            return None
        raise


def _is_damaged(published: Published) -> bool:
    try:
        verify(published)
    except TamperedError:
        return True
    return False


def _epoch(partition: Path) -> int:
    found = mirror.read(partition / POINTER)
    if found is None:
        return 0
    try:
        return int(json.loads(found)["epoch"])
    except (ValueError, KeyError, TypeError):
        return len(list(partition.glob("v-*")))


def _refuse_stale(before: Published | None, watermark: str, force: bool) -> None:
    if before and watermark < before.manifest.watermark and not force:
        raise StalePublishError(
            f"{address(before.partition)} was made from inputs up to {before.manifest.watermark}, newer than {watermark}; "
            "it was left as it is. Run the newer batch again, or replace it with --force, which is audited"
        )


def write_atomically(path: Path, data: bytes) -> None:
    """Replaces the file by one that holds `data`; a reader sees the old bytes or the new, never a part."""
    mirror.keep(path, data)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the folder's lock: one writer at a time, released by the kernel when its process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def pause(phase: str) -> None:
    """Stops this process at a named phase when a fault test asks for it, until the test kills it."""
    if os.environ.get("TIDEMILL_FAULT_PAUSE") == phase:
        import signal

        signal.raise_signal(signal.SIGSTOP)
