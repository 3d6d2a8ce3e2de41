"""A lake on S3, as folders of this machine: what is read is fetched first, and what is written is sent.

`s3://lake/prod/raw/…` is mirrored by `<home>/mirror-of-s3/lake/prod/raw/…`, so that DuckDB, pandas, Spark and the
libraries of models read plain files. A file of a version never changes under its name, so it is fetched once and
compared with its digest; a pointer or document is asked for each time, and S3's word is the one that counts.

A path that mirrors nothing is a folder of this machine: every function then does the same with that alone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from jobs.bucket import Bucket
from jobs.errors import TamperedError
from jobs.lake import address, mirrored
from jobs.settings import Settings

NEWEST = 8
"""Among how many of the newest days on S3 something just written is looked for; none that is still to come is one."""


def remote(path: Path) -> tuple[Bucket, str] | None:
    """The bucket and key that a path mirrors, or None for a path of this machine alone."""
    if not mirrored(path):
        return None
    name, _, key = address(path).removeprefix("s3://").partition("/")
    return bucket(name), key


@cache
def bucket(name: str) -> Bucket:
    """The bucket of that name, with the settings' encryption."""
    return Bucket(name, Settings.load().lake_kms_key)


def read(path: Path) -> bytes | None:
    """A document's bytes as they are now, or None where there is none."""
    at = remote(path)
    if at is None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
    found = at[0].get(at[1])
    if found is None:
        path.unlink(missing_ok=True)
        return None
    keep(path, found.data, found.written_ns)
    return found.data


def tag(path: Path) -> str | None:
    """What a swap of a document is conditional on; always None on this machine, where a lock is held."""
    at = remote(path)
    return at[0].tag(at[1]) if at else None


def swap(path: Path, data: bytes, tag: str | None) -> bool:
    """Whether the document was replaced: on S3 only while it has that tag, or there is none."""
    at = remote(path)
    if at and not at[0].swap(at[1], data, tag):
        return False
    keep(path, data)
    return True


def write(path: Path, data: bytes) -> None:
    """Replaces a document, here and on S3."""
    if at := remote(path):
        at[0].put(at[1], data)
    keep(path, data)


def append(path: Path, line: str) -> None:
    """Adds a line to a document that several may add to at once; none is lost."""
    if remote(path) is None:
        with path.open("a") as file:
            file.write(line)
        return
    while True:
        before = tag(path)
        if swap(path, (read(path) or b"") + line.encode(), before):
            return


def exists(path: Path) -> bool:
    """Whether there is a file, on S3 where the path mirrors it."""
    at = remote(path)
    return at[0].tag(at[1]) is not None if at else path.is_file()


def create(path: Path, data: Path) -> None:
    """Sends a file that has the bytes of `path`, unless there is one under its name already; moves nothing here."""
    at = remote(path)
    if at and at[0].tag(at[1]) is None:
        at[0].upload({at[1]: data})


def fetch(folder: Path, digests: Mapping[str, str]) -> None:
    """Brings a version's files here; raises TamperedError, and keeps none of it, when one is not what its digest says."""
    at = remote(folder)
    missing = {} if at is None else {name: of for name, of in digests.items() if not (folder / name).exists()}
    if at is None or not missing:
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".fetch-", dir=folder.parent))
    try:
        _download(at, folder, {name: staging / name for name in missing})
        for name, stated in missing.items():
            with (staging / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != stated:
                    raise TamperedError(
                        f"{address(folder / name)} is not what its manifest states; it was not read. "
                        "Publish the batch again with --force"
                    )
        for name in missing:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).replace(folder / name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _download(at: tuple[Bucket, str], folder: Path, files: Mapping[str, Path]) -> None:
    bucket, prefix = at
    try:
        bucket.download({f"{prefix}/{name}": path for name, path in files.items()})
    except Exception as error:
        lost = [name for name in files if not files[name].exists() and bucket.tag(f"{prefix}/{name}") is None]
        if lost:
            raise TamperedError(
                f"{address(folder / lost[0])} is missing or altered; publish the batch again with --force"
            ) from error
        raise


def fetch_all(folder: Path) -> Path:
    """The folder, with every file that S3 has below it and this machine has not, or has in another size."""
    at = remote(folder)
    if at is None:
        return folder
    bucket, prefix = at
    wanted, times = {}, {}
    for found in bucket.listed(f"{prefix}/"):
        path = folder / found.key.removeprefix(f"{prefix}/")
        if not path.exists() or path.stat().st_size != found.size:
            wanted[found.key], times[path] = path, found.modified_ns
    bucket.download(wanted)
    for path, modified_ns in times.items():
        os.utime(path, ns=(modified_ns, modified_ns))
    return folder


def fetch_file(path: Path) -> Path:
    """The path, with its file here when S3 has it; for a file that never changes under its name."""
    at = remote(path)
    if at and not path.exists() and at[0].tag(at[1]) is not None:
        at[0].download({at[1]: path})
    return path


def send(folder: Path, last: str = "", since_ns: int = 0) -> None:
    """Sends every file below a folder, or those written since; the one named `last` after all others."""
    at = remote(folder)
    if at is None:
        return
    bucket, prefix = at
    files = {
        f"{prefix}/{path.relative_to(folder).as_posix()}": path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.stat().st_mtime_ns >= since_ns
    }
    final = files.pop(f"{prefix}/{last}", None)
    bucket.upload(files)
    if final:
        bucket.upload({f"{prefix}/{last}": final})


def names(folder: Path) -> list[str]:
    """The names of the files directly in a folder; none where there is no folder."""
    at = remote(folder)
    if at is None:
        try:
            return [entry.name for entry in os.scandir(folder) if entry.is_file()]
        except FileNotFoundError:
            return []
    rest = (found.key.removeprefix(f"{at[1]}/") for found in at[0].listed(f"{at[1]}/"))
    return [name for name in rest if "/" not in name]


def partitions(folder: Path) -> list[Path]:
    """The batches of a folder, in order."""
    at = remote(folder)
    if at is None:
        return sorted(folder.glob("batch=*"))
    return [folder / name for name in at[0].folders(f"{at[1]}/") if name.startswith("batch=")]


def files_named(root: Path, name: str) -> list[Path]:
    """Every file of that name below a folder, in order."""
    at = remote(root)
    if at is None:
        return sorted(root.rglob(name))
    return [
        root / found.key.removeprefix(f"{at[1]}/") for found in at[0].listed(f"{at[1]}/") if _last(found.key) == name
    ]


def recent(root: Path, since: datetime) -> list[Path]:
    """The batches of a folder in which something was written since then, their files fetched.

    On S3 that is looked for among the newest days only: the log of a year has millions of files.
    """
    at = remote(root)
    if at is None:
        return [folder for folder in root.glob("batch=*") if folder.stat().st_mtime >= since.timestamp()]
    from_ns = int(since.astimezone(UTC).timestamp()) * 1_000_000_000  # S3's times are whole seconds
    last = f"batch={datetime.now(UTC).date() + timedelta(days=1)}"
    days = [name for name in at[0].folders(f"{at[1]}/") if name.startswith("batch=") and name <= last][-NEWEST:]
    found = [name for name in days if any(one.modified_ns >= from_ns for one in at[0].listed(f"{at[1]}/{name}/"))]
    return [fetch_all(root / name) for name in found]


def remove_versions(partition: Path, keep: Iterable[str], older_ns: int) -> None:
    """Removes a partition's versions on S3 but those to keep and those written since: another may be sending one."""
    at = remote(partition)
    if at is None:
        return
    kept = set(keep)
    versions: dict[str, list[tuple[str, int]]] = {}
    for found in at[0].listed(f"{at[1]}/v-"):
        version = found.key.removeprefix(f"{at[1]}/").partition("/")[0]
        versions.setdefault(version, []).append((found.key, found.modified_ns))
    old = [one for name, one in versions.items() if name not in kept and max(at for _, at in one) < older_ns]
    at[0].remove([key for one in old for key, _ in one])


def remove_all(folder: Path) -> None:
    """Removes everything below a folder on S3."""
    if at := remote(folder):
        at[0].remove([found.key for found in at[0].listed(f"{at[1]}/")])


def _last(key: str) -> str:
    return key.rpartition("/")[2]


def keep(path: Path, data: bytes, written_ns: int | None = None) -> None:
    """Replaces the file here by one that holds `data`; a reader sees the old bytes or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".write-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        if written_ns:
            os.utime(name, ns=(written_ns, written_ns))
        Path(name).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise
