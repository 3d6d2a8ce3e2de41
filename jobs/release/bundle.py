"""A release's bundle: files, their digests, and the contract they were made under.

Standard library only: the slots verify a bundle before anything in it is loaded.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from jobs import mirror
from jobs.errors import MachineError, TamperedError
from jobs.lake import address
from jobs.spec import Project
from jobs.storage import MANIFEST, digest_file, digest_of, write_atomically

FORMATS = (".ubj", ".txt", ".onnx", ".json", ".parquet", ".md", ".png", ".npz", ".voy")
"""What a bundle may hold: nothing that runs code when it is read."""
PATIENCE_SECONDS = 120
"""For which a trial of its models may go on."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*\.[a-z]+\Z")
_LIBRARIES = ("xgboost", "lightgbm", "onnxruntime", "numpy")
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A release on disk."""

    release: str
    digest: str
    """SHA-256 of the manifest's bytes: what the ledger and the slots know the release by."""
    folder: Path
    manifest: Mapping[str, Any]


def contract_of(project: Project) -> dict[str, Any]:
    """What a release and the code that serves it must agree on: views, request transform and spec."""
    microsecond = timedelta(microseconds=1)
    views: dict[str, dict[str, Any]] = {
        view.name: {
            "entity": list(view.entity),
            "features": list(view.features),
            "schema": view.schema,
            "lag_us": view.lag // microsecond,
            "ttl_us": view.ttl // microsecond,
        }
        for view in project.views
    }
    views |= {view.name: {"entity": list(view.entity), "features": list(view.features), "schema": view.schema}
              for view in project.live_views}  # fmt: skip
    found = importlib.util.find_spec(f"jobs.projects.{project.name}.features")
    transform = digest_file(Path(found.origin)) if found and found.origin else ""
    return {"views": views, "request_transform": transform, "spec": project.digest}


def same_contract(project: Project, manifest: Mapping[str, Any], inputs: tuple[str, ...] | None = None) -> bool:
    """Whether a bundle takes the vectors that the present code makes: same views, transform and inputs."""
    now, then = contract_of(project), manifest["contract"]
    alike = all(now[part] == then.get(part) for part in ("views", "request_transform"))
    return alike and (inputs is None or any(tuple(model["inputs"]) == inputs for model in manifest["models"]))


def write_bundle(
    releases: Path,
    project: Project,
    files: Mapping[str, Path],
    *,
    run: str,
    as_of: str,
    models: list[dict[str, Any]],
    snapshot: str,
    git: str,
    metrics: Mapping[str, Any],
    decisions: Mapping[str, Any],
) -> Bundle:
    """The bundle below `releases`, named after its contents: the same contents are the same release."""
    refused = [name for name in files if not _allowed(name)]
    if refused:
        raise TamperedError(f"{refused[0]!r} may not be in a release; it holds only {', '.join(FORMATS)}")
    releases.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=releases))
    try:
        for name, path in files.items():
            shutil.copyfile(path, staging / name)
        manifest: dict[str, Any] = {
            "format": 1,
            "project": project.name,
            "run": run,
            "as_of": as_of,
            "models": models,
            "files": {name: digest_file(staging / name) for name in sorted(files)},
            "contract": contract_of(project),
            "snapshot": snapshot,
            "git": git,
            "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
            "metrics": metrics,
            "decisions": decisions,
        }
        manifest["release"] = f"r-{digest_of(manifest)[:12]}"
        text = json.dumps(manifest, sort_keys=True, indent=1, allow_nan=False).encode()
        write_atomically(staging / MANIFEST, text)
        folder, digest = releases / manifest["release"], hashlib.sha256(text).hexdigest()
        if not folder.exists():
            staging.chmod(0o755)
            staging.rename(folder)
        if not mirror.exists(folder / MANIFEST):
            mirror.send(folder, last=MANIFEST)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Bundle(release=manifest["release"], digest=digest, folder=folder, manifest=verify_bundle(folder, digest))


def verify_bundle(folder: Path | str, digest: str, *, probe: bool = True) -> dict[str, Any]:
    """The manifest of a bundle whose every byte is as the digest says and whose models load and score as stored.

    Raises TamperedError naming the file, and MachineError where a model took too long to tell. It is tried in a process
    of its own: a native loader that crashes takes that process down, and not the caller.
    """
    folder = mirror.fetch_all(Path(folder))
    manifest = read_manifest(folder, digest)
    expected = {MANIFEST, *manifest["files"]}
    for name in sorted(expected):
        if name != MANIFEST and not _allowed(name):
            raise _refused(folder / name, f"its manifest names a file that is not one of {', '.join(FORMATS)}")
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_file():
            raise _refused(path, "it is not a plain file")
        if path.name not in expected:
            raise _refused(path, "the manifest does not name it")
    for name, stated in manifest["files"].items():
        if not (folder / name).is_file():
            raise _refused(folder / name, "it is missing")
        if digest_file(folder / name) != stated:
            raise _refused(folder / name, "its bytes differ from the manifest")
    for model in manifest["models"]:
        for name in (model["file"], model.get("scorer_file")):
            if name and name not in manifest["files"]:
                raise _refused(folder / name, "the manifest has no digest of it")
    if probe:
        _probe(folder)
    return manifest


def read_manifest(folder: Path, digest: str) -> dict[str, Any]:
    """The manifest whose bytes have that digest; raises TamperedError for any other, or for another format."""
    path = folder / MANIFEST
    text = None if path.is_symlink() else mirror.read(path)
    if text is None:
        raise _refused(path, "it is missing")
    if hashlib.sha256(text).hexdigest() != digest:
        raise _refused(path, "it is not the manifest that the ledger names")
    manifest: dict[str, Any] = json.loads(text)
    if manifest.get("format") != 1:
        raise _refused(path, f"its format {manifest.get('format')!r} is not 1")
    return manifest


def _allowed(name: str) -> bool:
    return bool(_NAME.match(name)) and name.endswith(FORMATS) and name != MANIFEST


def _refused(path: Path, why: str) -> TamperedError:
    return TamperedError(
        f"{address(path)} is refused: {why}; nothing of this release was loaded and the champion stays. "
        "Restore the release's folder, or train and register again"
    )


def _probe(folder: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(_ROOT)}
    command = [sys.executable, "-m", "jobs.release.probe", str(folder)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=PATIENCE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise MachineError(
            f"the models of {address(folder)} had not loaded and scored after {PATIENCE_SECONDS} seconds, which says nothing of "
            "what they are; nothing of this release was loaded and the champion stays. Run the same command again when "
            "this machine has less to do"
        ) from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise _refused(folder, f"its model does not load and score as stored (exit {done.returncode}: {said[0][:300]})")
