"""What somebody changed after it was made: evaluations, candidates and releases that are not what was measured."""

from __future__ import annotations

import hashlib
import json
import math
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jobs.errors import TidemillError
from jobs.release import bundle as bundles
from jobs.release.bundle import verify_bundle
from jobs.spec import Project, Threshold
from jobs.stages import gate, register
from jobs.storage import MANIFEST, current, publish
from jobs.training.metrics import LOWER_IS_BETTER
from tests.proof.case import Case, Seen, taken_away
from tests.proof.home import Home, refused, without_checks
from tests.proof.trained import figures
from tests.proof.world import with_gate
from tests.release.test_bundle import restated

Document = dict[str, Any]
FILES = "the files of one release"


def _evaluated(home: Home, change: Callable[[Document], None]) -> str:
    """A run whose evaluation was published with a change, as a faulty evaluation would have."""
    run = home.copied("evaluated")
    published = current(home.folder(run) / "evaluation")
    assert published is not None
    document = json.loads((published.folder / "evaluation.json").read_bytes())
    change(document)

    def write(folder: Path) -> int:
        (folder / "evaluation.json").write_text(json.dumps(document))
        return published.manifest.rows

    inputs = {**published.manifest.inputs, "changed": run}
    publish(published.partition, write, inputs=inputs, watermark=published.manifest.watermark)
    return run


def _bounded(project: Project) -> tuple[str, Threshold]:
    """The last model, and the last threshold of it that is a bound."""
    model = project.models[-1].name
    bounds = [one for one in project.gate.of(model) if one.minimum is not None or one.maximum is not None]
    return model, bounds[-1]


def _with_figure(home: Home, value: float | None) -> str:
    """A run whose evaluation says that of the bounded metric."""
    model, bound = _bounded(home.project)

    def change(document: Document) -> None:
        document["models"][model]["challenger"][bound.metric] = value

    return _evaluated(home, change)


def _metric_nan(home: Home, guarded: bool) -> Seen:
    return home.decided(_with_figure(home, math.nan))


def _metric_missing(home: Home, guarded: bool) -> Seen:
    run = _with_figure(home, None)
    if guarded:
        return home.decided(run)
    _, bound = _bounded(home.project)
    others = tuple(one for one in home.project.gate.thresholds if one is not bound)
    return home.decided(run, with_gate(home.project, thresholds=others))


def _wrong_dataset(home: Home, guarded: bool) -> Seen:
    def change(document: Document) -> None:
        document["snapshot"] = "0" * 64

    run = _evaluated(home, change)
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
    model = home.project.models[-1]
    document["models"][model.name]["challenger"][model.metric] = 0.001 if model.metric in LOWER_IS_BETTER else 0.999
    path.write_text(json.dumps(document))
    if guarded:
        return home.decided(run)
    with taken_away((gate, "verify", _unread), (register, "verify", _unread)):
        return home.decided(run)


def _unread(_published: Any) -> None:
    """Looks at no digest."""


def _swapped_after_the_gate(home: Home, guarded: bool) -> Seen:
    run = home.copied("swapped")
    result = gate.run(home.project, home.settings, run=run)
    assert result.exit_code == 0, result.line
    model = home.project.models[-1]
    candidate = current(home.folder(run) / "candidates" / model.name / model.learners[0])
    assert candidate is not None
    entry = json.loads((candidate.folder / "training.json").read_bytes())["model"]
    path = candidate.folder / entry["file"]
    path.write_bytes(path.read_bytes()[:-200])
    try:
        register.run(home.project, home.settings, run=run)
    except TidemillError as error:
        return refused("register", error, "one registration")
    return Seen(caught=False, stage="register")


def _released(home: Home) -> Path:
    """A copy of a release's folder."""
    with home.ledger() as ledger:
        champion = ledger.champion(home.name)
    assert champion is not None
    folder = home.settings.home / home.run_name("bundle")
    shutil.copytree(home.lake.release(home.name, champion.release), folder)
    return folder


def _digest(folder: Path) -> str:
    return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()


def _verified(folder: Path, digest: str) -> Seen:
    try:
        verify_bundle(folder, digest)
    except TidemillError as error:
        return refused("verify", error, FILES)
    return Seen(caught=False, stage="verify", said="every byte counts as verified")


def _tampered(home: Home, guarded: bool) -> Seen:
    folder = _released(home)
    digest, card = _digest(folder), folder / f"{home.project.models[-1].name}-card.md"
    card.write_text(card.read_text().replace("e", "a", 1))
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
    stored = parity["models"][home.project.models[-1].name]
    stored["scores"] = (1 - np.asarray(stored["scores"])).tolist()
    (folder / "parity.json").write_text(json.dumps(parity))
    digest = restated(folder)
    if guarded:
        return _verified(folder, digest)
    with taken_away((bundles, "_probe", _unread)):
        return _verified(folder, digest)


def _truncated(home: Home, guarded: bool) -> Seen:
    folder = _released(home)
    entry = json.loads((folder / MANIFEST).read_bytes())["models"][-1]
    for name in filter(None, (entry["file"], entry.get("scorer_file"))):
        path = folder / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return _verified(folder, restated(folder))


def of_project(project: Project) -> tuple[Case[Home], ...]:
    """The cases, about the last model's bounded metric where they are about a metric."""
    return (
        Case(
            name="metric that is NaN", done="A bounded metric of an evaluation is not a number.", stages=("gate",),
            guards=figures(project, project.models[-1]), run=_metric_nan,
        ),
        Case(
            name="metric that is missing", done="A bounded metric of an evaluation is not there.", stages=("gate",),
            guards=figures(project, project.models[-1]), run=_metric_missing, removed="the threshold on that metric",
        ),
        Case(
            name="evaluation of other data", done="An evaluation names the digest of another snapshot.", stages=("gate",),
            guards=("snapshot",), run=_wrong_dataset, removed="the check that it is about this snapshot",
        ),
        Case(
            name="embellished evaluation", done="Somebody writes a figure too good to be true into a published evaluation.", stages=("gate",),
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
