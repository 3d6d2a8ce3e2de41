"""What an attacker or a failing disk may do to a release, and that nothing of it is loaded."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import pytest

from jobs.errors import MachineError, TamperedError
from jobs.release.bundle import verify_bundle, write_bundle
from jobs.storage import digest_file


class Bomb:
    """Leaves a witness when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return (Path.touch, (self.witness,))


def restated(folder: Path, **changes) -> str:
    """Rewrites the manifest to agree with the folder's files: what a careful attacker would do. Its digest."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"] = {p.name: digest_file(p) for p in folder.iterdir() if p.name != "manifest.json"}
    text = json.dumps({**manifest, **changes}).encode()
    (folder / "manifest.json").write_bytes(text)
    return hashlib.sha256(text).hexdigest()


def model_file(folder: Path) -> Path:
    return folder / json.loads((folder / "manifest.json").read_bytes())["models"][0]["file"]


def test_a_release_as_it_was_written_is_verified(finished):
    manifest = verify_bundle(finished.bundle, finished.challenger.digest)
    assert manifest["release"] == finished.challenger.release
    assert {"review", "decline"} <= set(manifest["decisions"])
    assert {"reference.parquet", "parity.json", "evaluation.json", "fraud-card.md"} <= set(manifest["files"])


@pytest.mark.fault("F44")
def test_a_pickle_is_refused_under_every_name_and_never_unpickled(broken, tmp_path):
    witness, bomb = tmp_path / "witness", pickle.dumps(Bomb(tmp_path / "witness"))
    (broken.bundle / "model.pkl").write_bytes(bomb)
    with pytest.raises(TamperedError, match=r"model\.pkl.*does not name it"):
        verify_bundle(broken.bundle, broken.challenger.digest)
    with pytest.raises(TamperedError, match=r"model\.pkl.*not one of"):
        verify_bundle(broken.bundle, restated(broken.bundle))
    (broken.bundle / "model.pkl").unlink()
    model_file(broken.bundle).write_bytes(bomb)
    with pytest.raises(TamperedError, match="does not load"):
        verify_bundle(broken.bundle, restated(broken.bundle))
    with pytest.raises(TamperedError, match="may not be in a release"):
        write_bundle(
            tmp_path, broken.project, {"model.pkl": tmp_path / "any"}, run="r", as_of="2026-01-01", models=[],
            snapshot="", git="", metrics={}, decisions={},
        )  # fmt: skip
    assert not witness.exists()


@pytest.mark.fault("F46")
def test_other_weights_of_a_valid_format_are_not_loaded(broken):
    path = model_file(broken.bundle)
    other = "lightgbm" if path.suffix == ".txt" else "xgboost"
    text = path.read_bytes()
    changed = (
        text.replace(b"leaf_value=", b"leaf_value=9", 1) if other == "lightgbm" else text[:-200] + text[-200:][::-1]
    )
    path.write_bytes(changed)
    with pytest.raises(TamperedError, match=f"{path.name} is refused: its bytes differ"):
        verify_bundle(broken.bundle, broken.challenger.digest)
    restated(broken.bundle)
    with pytest.raises(TamperedError, match="not the manifest that the ledger names"):
        verify_bundle(broken.bundle, broken.challenger.digest)


@pytest.mark.fault("F47")
@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.97])
def test_a_truncated_model_takes_only_the_probe_down(broken, library, kept):
    candidate = json.loads((broken.run / "candidates" / "fraud" / library / "current.json").read_bytes())["version"]
    folder = broken.run / "candidates" / "fraud" / library / candidate
    entry = json.loads((folder / "training.json").read_bytes())["model"]
    for name in filter(None, (entry["file"], entry["scorer_file"])):
        (broken.bundle / name).write_bytes((folder / name).read_bytes())
    whole = (broken.bundle / entry["file"]).read_bytes()
    (broken.bundle / entry["file"]).write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(TamperedError, match="does not load and score as stored"):
        verify_bundle(broken.bundle, restated(broken.bundle, models=[entry]))


def test_a_trial_that_takes_too_long_is_the_machines_fault_and_loads_nothing(finished, monkeypatch):
    monkeypatch.setattr("jobs.release.bundle.PATIENCE_SECONDS", 0.01)
    with pytest.raises(MachineError, match=r"after 0\.01 seconds.*the champion stays.*Run the same command again"):
        verify_bundle(finished.bundle, finished.challenger.digest)


def test_links_strays_and_missing_files_are_refused(broken, tmp_path):
    outside = tmp_path / "outside.json"
    (broken.bundle / "parity.json").rename(outside)
    with pytest.raises(TamperedError, match=r"parity\.json is refused: it is missing"):
        verify_bundle(broken.bundle, broken.challenger.digest)
    (broken.bundle / "parity.json").symlink_to(outside)
    with pytest.raises(TamperedError, match="not a plain file"):
        verify_bundle(broken.bundle, broken.challenger.digest)


@pytest.mark.parametrize("name", ["../evil.json", "a/b.json", "/etc/evil.json", ".hidden.json", "evil.json\n"])
def test_names_that_leave_the_folder_are_refused(broken, name):
    manifest = json.loads((broken.bundle / "manifest.json").read_bytes())
    text = json.dumps({**manifest, "files": {**manifest["files"], name: "0" * 64}}).encode()
    (broken.bundle / "manifest.json").write_bytes(text)
    with pytest.raises(TamperedError, match="names a file that is not one of"):
        verify_bundle(broken.bundle, hashlib.sha256(text).hexdigest())
