"""Names and links that would lead out of a release's folder, or out of the landing zone."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.errors import TamperedError
from jobs.lake import Lake
from jobs.projects.fraud.spec import FRAUD
from jobs.release.bundle import Bundle, verify_bundle, write_bundle
from jobs.settings import Settings
from jobs.storage import digest_file
from tests.data.deliveries import csv, payment, take_in
from tests.releases import release

NAMES = [
    "../outside.json", "..", "%2e%2e%2foutside.json", "..\\outside.json", "C:\\outside.json", "/etc/outside.json",
    "a/../../outside.json", "./outside.json", "outside.json\x00.txt", "ｏutside.json", "outside.json ",
]  # fmt: skip


def restated(folder: Path, name: str, outside: Path) -> str:
    """The digest of a manifest that names one file more, with the bytes of a file outside."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"][name] = digest_file(outside)
    text = json.dumps(manifest).encode()
    (folder / "manifest.json").write_bytes(text)
    return hashlib.sha256(text).hexdigest()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    home = tmp_path_factory.mktemp("release")
    return release(Lake(str(home / "lake")), FRAUD, home / "scratch")


@pytest.fixture
def bundle(made: Bundle, tmp_path: Path) -> Bundle:
    """A release of this test's own."""
    return replace(made, folder=shutil.copytree(made.folder, tmp_path / "releases" / made.release))


@pytest.mark.fault("F48")
@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_leaves_its_folder_is_refused_and_nothing_outside_is_touched(bundle: Bundle, name: str) -> None:
    whole = (bundle.folder / "manifest.json").read_bytes()
    outside = bundle.folder.parent / "outside.json"
    outside.write_text("{}")
    before = outside.stat()
    digest = restated(bundle.folder, name, outside)
    with pytest.raises(TamperedError, match="its manifest names a file that is not one of"):
        verify_bundle(bundle.folder, digest, probe=False)
    with pytest.raises(TamperedError, match="may not be in a release"):
        write_bundle(
            bundle.folder.parent, FRAUD, {name: outside}, run="r", as_of="2026-01-01", models=[], snapshot="", git="",
            metrics={}, decisions={},
        )  # fmt: skip
    after = outside.stat()
    assert (after.st_ino, after.st_mtime_ns, outside.read_text()) == (before.st_ino, before.st_mtime_ns, "{}")
    assert sorted(path.name for path in outside.parent.iterdir()) == sorted([bundle.release, "outside.json"])
    (bundle.folder / "manifest.json").write_bytes(whole)
    assert verify_bundle(bundle.folder, bundle.digest, probe=False)["release"] == bundle.release


@pytest.mark.fault("F48")
@pytest.mark.parametrize("kind", ["link to a file", "link to a folder", "the folder itself", "the manifest", "a pipe"])
def test_a_release_that_holds_what_is_no_plain_file_is_refused(bundle: Bundle, tmp_path: Path, kind: str) -> None:
    folder, outside = bundle.folder, tmp_path / "outside"
    if kind == "the folder itself":
        folder.rename(outside)
        folder.symlink_to(outside)
        assert verify_bundle(folder, bundle.digest, probe=False)["release"] == bundle.release, "its bytes are its own"
        (outside / "stray.json").write_text("{}")
    elif kind == "a pipe":
        (folder / "model.json").unlink()
        os.mkfifo(folder / "model.json")
    else:
        victim = folder / {"the manifest": "manifest.json"}.get(kind, "model.json")
        victim.rename(outside)
        if kind == "link to a folder":
            outside.unlink()
            outside.mkdir()
        victim.symlink_to(outside)
    with pytest.raises(TamperedError, match=r"it is not a plain file|it is missing|the manifest does not name it"):
        verify_bundle(folder, bundle.digest, probe=False)


@pytest.mark.fault("F48")
@pytest.mark.parametrize("name", ["..%2f..%2fday.csv", "..\\..\\day.csv", "....day.csv"])
def test_a_delivery_stays_in_the_landing_zone_whatever_it_is_called(settings: Settings, name: str) -> None:
    assert take_in(settings, {name: csv([payment(1)])}).facts["accepted"] == 1
    landed = [path for path in settings.home.rglob("*day.csv") if path.parent != settings.home / "out"]
    assert [path.parent.name for path in landed] == ["batch=2026-01-10"]
    assert landed[0].name.endswith(f"-{name}")
