"""What somebody changed after it was made: evaluations, candidates and releases that are not what was measured."""

from __future__ import annotations

import json
import math
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobs.errors import TidemillError
from jobs.release import bundle as bundles
from jobs.release.bundle import verify_bundle
from jobs.stages import gate, register
from jobs.storage import MANIFEST, current, publish
from tests.proof.case import Case, Seen, taken_away
from tests.proof.home import Home, declared, refused, without_checks, without_thresholds
from tests.release.test_bundle import restated

Document = dict[str, Any]
FILES = "the files of one release"


def _evaluated(change: Callable[[Document], None]) -> Callable[[Home], str]:
    """A run whose evaluation was published with a change, as a faulty evaluation would have."""

    def made(home: Home) -> str:
        run = home.copied("evaluated")
        published = current(home.folder(run) / "evaluation")
        assert published is not None
        document = json.loads((published.folder / "evaluation.json").read_bytes())
        change(document)

        def write(folder: Path) -> int:
            (folder / "evaluation.json").write_text(json.dumps(document))
            return published.manifest.rows

        publish(
            published.partition, write, inputs={**published.manifest.inputs, "changed": run},
            watermark=published.manifest.watermark,
        )  # fmt: skip
        return run

    return made


def _undefined(document: Document) -> None:
    document["models"]["fraud"]["challenger"]["expected_calibration_error"] = math.nan


def _missing(document: Document) -> None:
    document["models"]["fraud"]["challenger"]["expected_calibration_error"] = None


def _of_other_data(document: Document) -> None:
    document["snapshot"] = "0" * 64


def _metric_nan(home: Home, guarded: bool) -> Seen:
    return home.decided(_evaluated(_undefined)(home))


def _metric_missing(home: Home, guarded: bool) -> Seen:
    project = declared() if guarded else without_thresholds(declared(), "expected_calibration_error")
    return home.decided(_evaluated(_missing)(home), project)


def _wrong_dataset(home: Home, guarded: bool) -> Seen:
    run = _evaluated(_of_other_data)(home)
    if guarded:
        return home.decided(run)
    with without_checks("snapshot"):
        return home.decided(run)


def _embellished(home: Home, guarded: bool) -> Seen:
    run = home.copied("embellished")
    published = current(home.folder(run) / "evaluation")
    assert published is not None
    path = published.folder / "evaluation.json"
    document = json.loads(path.read_bytes())
    document["models"]["fraud"]["challenger"]["average_precision"] = 0.999
    path.write_text(json.dumps(document))
    if guarded:
        return home.decided(run)
    with taken_away((gate, "verify", _unread), (register, "verify", _unread)):
        return home.decided(run)


def _unread(_published: Any) -> None:
    """Looks at no digest."""


def _swapped_after_the_gate(home: Home, guarded: bool) -> Seen:
    run = home.copied("swapped")
    result = gate.run(declared(), home.settings, run=run)
    assert result.exit_code == 0, result.line
    candidate = current(home.folder(run) / "candidates" / "fraud" / "xgboost")
    assert candidate is not None
    entry = json.loads((candidate.folder / "training.json").read_bytes())["model"]
    path = candidate.folder / entry["file"]
    path.write_bytes(path.read_bytes()[:-200])
    try:
        register.run(declared(), home.settings, run=run)
    except TidemillError as error:
        return refused("register", error, "one registration")
    return Seen(caught=False, stage="register")


def _released(home: Home) -> Path:
    """A copy of a release's folder."""
    with home.ledger() as ledger:
        challenger = ledger.challenger("fraud")
    assert challenger is not None
    folder = home.settings.home / home.run_name("bundle")
    shutil.copytree(home.lake.release("fraud", challenger.release), folder)
    return folder


def _digest(folder: Path) -> str:
    import hashlib

    return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()


def _verified(folder: Path, digest: str) -> Seen:
    try:
        verify_bundle(folder, digest)
    except TidemillError as error:
        return refused("verify", error, FILES)
    return Seen(caught=False, stage="verify", said="every byte counts as verified")


def _tampered(home: Home, guarded: bool) -> Seen:
    folder = _released(home)
    digest, card = _digest(folder), folder / "fraud-card.md"
    card.write_text(card.read_text().replace("fraud", "freud", 1))
    if guarded:
        return _verified(folder, digest)
    stated = json.loads((folder / MANIFEST).read_bytes())["files"]
    with taken_away((bundles, "digest_file", lambda path: stated[path.name])):
        return _verified(folder, digest)


class _Bomb:
    def __reduce__(self) -> Any:
        return (print, ("a pickle was opened",))


def _pickled(home: Home, guarded: bool) -> Seen:
    folder = _released(home)
    (folder / "model.pkl").write_bytes(pickle.dumps(_Bomb()))
    digest = restated(folder)
    if guarded:
        return _verified(folder, digest)
    with taken_away((bundles, "_allowed", lambda _name: True)):
        return _verified(folder, digest)


def _other_weights(home: Home, guarded: bool) -> Seen:
    """A careful attacker's: another valid model in its place, and a manifest that agrees."""
    folder = _released(home)
    parity = json.loads((folder / "parity.json").read_bytes())
    parity["models"]["fraud"]["scores"] = [1 - score for score in parity["models"]["fraud"]["scores"]]
    (folder / "parity.json").write_text(json.dumps(parity))
    digest = restated(folder)
    if guarded:
        return _verified(folder, digest)
    with taken_away((bundles, "_probe", _unread)):
        return _verified(folder, digest)


def _truncated(home: Home, guarded: bool) -> Seen:
    folder = _released(home)
    entry = json.loads((folder / MANIFEST).read_bytes())["models"][0]
    for name in filter(None, (entry["file"], entry.get("scorer_file"))):
        path = folder / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return _verified(folder, restated(folder))


CASES: tuple[Case[Home], ...] = (
    Case(
        name="metric that is NaN", done="The calibration error of an evaluation is not a number.", stages=("gate",),
        guards=("expected_calibration_error",), run=_metric_nan,
    ),
    Case(
        name="metric that is missing", done="The calibration error of an evaluation is not there.", stages=("gate",),
        guards=("expected_calibration_error",), run=_metric_missing, removed="the threshold on that metric",
    ),
    Case(
        name="evaluation of other data", done="An evaluation names the digest of another snapshot.", stages=("gate",),
        guards=("snapshot",), run=_wrong_dataset, removed="the check that it is about this snapshot",
    ),
    Case(
        name="embellished evaluation", done="Somebody writes 0.999 into a published evaluation.", stages=("gate",),
        guards=("TamperedError",), run=_embellished, removed="the digests of published files",
    ),
    Case(
        name="candidate swapped after the gate", done="The model file of a run that passed is changed before it is registered.",
        stages=("register",), guards=("TamperedError",), run=_swapped_after_the_gate,
    ),
    Case(
        name="tampered file in a release", done="A word of the model card is changed.", stages=("verify",),
        guards=("TamperedError",), run=_tampered, removed="the digests of a release's files",
    ),
    Case(
        name="pickle in a release", done="A file that runs code when it is read, named by the manifest.",
        stages=("verify",), guards=("TamperedError",), run=_pickled, removed="the list of formats a release may hold",
    ),
    Case(
        name="model that scores otherwise than stored", done="The stored scores are another model's, and the manifest agrees.",
        stages=("verify",), guards=("TamperedError",), run=_other_weights, removed="the trial in a process of its own",
    ),
    Case(
        name="truncated model", done="Half of the model file, and a manifest that agrees.", stages=("verify",),
        guards=("TamperedError",), run=_truncated,
    ),
)  # fmt: skip
