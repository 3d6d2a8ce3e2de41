"""Which release a slot serves: the assigned one when every byte of it is right, else the last that was, else the rule."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bentos.metrics import REFUSED
from jobs.errors import ServiceError, TamperedError, TidemillError
from jobs.features.vectors import rule
from jobs.lake import located, mirrored
from jobs.projects import hook
from jobs.release.bundle import same_contract, verify_bundle
from jobs.release.decisions import ORDER, decide
from jobs.release.scorer import Candidates, Scorer
from jobs.retrieval.index import Catalogue
from jobs.rollout.slots import Assignment, assignment_path, read_assignment
from jobs.settings import Settings
from jobs.spec import Model, Project
from jobs.storage import MANIFEST, write_atomically

RULE = "rule"
"""The name of the release, and of the baseline, that is the project's rule alone."""
PREVIOUS, BASELINE = "previous_release", "rule_baseline"
"""Why an answer is degraded: a release of before is served in place of the assigned one, or the rule."""
_BY_RULE = {"review": 0.5, "decline": 0.5}
log = logging.getLogger("tidemill.releases")


@dataclass(frozen=True, kw_only=True)
class Release:
    """A verified release, loaded; without a scorer it is the project's rule."""

    assignment: Assignment
    folder: Path
    """The slot's own copy of the bundle."""
    scorer: Scorer | None
    request: Callable[..., NDArray[np.float64]]
    rule: Callable[[Mapping[str, NDArray[Any]]], NDArray[np.bool_]]
    decisions: Mapping[str, Any]
    """What it decides by, as `jobs.release.decisions` takes it."""
    catalogue: Catalogue | None = None
    """What its retrieval finds items in."""
    degraded_by: str | None = None
    """Why this is not the release that the slot is told to serve."""

    @property
    def name(self) -> str:
        return self.assignment.release

    def score(self, payload: Mapping[str, NDArray[Any]], vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the model answers for each row; of the rule 1 where it holds and 0 elsewhere."""
        if self.scorer is None:
            return self.rule(payload).astype(np.float64)
        return self.scorer.score(vectors)

    def decide(self, payload: Mapping[str, NDArray[Any]], scores: NDArray[np.float64]) -> list[str]:
        """A decision for each row: the rule comes first, then the release's own."""
        return decide(self.rule(payload), scores, self.decisions)


class Releases:
    """Finds, verifies and loads what a slot is told to serve."""

    def __init__(self, project: Project, settings: Settings) -> None:
        self._project, self._slot = project, settings.slot
        self._assignment = assignment_path(settings, project.name, settings.slot)
        own = settings.home / "serving" / project.name
        self._verified = own / f"{settings.slot}.verified.json"
        self._previous = own / f"{settings.slot}.previous.json"
        self._copies = own / "releases"
        self.refused: str | None = None
        """Why the assigned release is not the one being served."""
        self.alone: str | None = None
        """Why the release that it is told to hold beside the assigned one is not there."""

    def load(self) -> Release | None:
        """The assigned release; when it is refused the last verified one, the one before, or the project's rule.

        None when the slot is told to serve nothing, or when all of these are refused. Raises ServiceError when S3
        cannot be asked for it by a slot that remembers nothing: it is to be started again.
        """
        kept = previous = wanted = None
        try:
            kept, previous = read_assignment(self._verified), read_assignment(self._previous)
            wanted = read_assignment(self._assignment)
            if wanted is None:
                self._withdraw(kept, previous)
                return None
            release = self._load(wanted, kept)
        except (TidemillError, OSError, ValueError, KeyError) as error:
            if isinstance(error, ServiceError) and kept is None and mirrored(self._assignment):
                raise
            self._refuse(error)
            return self._fall_back(wanted, kept, previous)
        if kept and kept.digest != wanted.digest:
            previous = kept
            self._remember(self._previous, kept)
        self._remember(self._verified, wanted)
        self._forget(wanted, previous)
        return release

    def beside(self, release: Release) -> Release | None:
        """The release that lists are interleaved with, verified and loaded like any; None where none is asked for, where
        it is refused, or where not even the assigned one is served."""
        told = release.assignment.beside
        if told is None:
            return None
        try:
            if release.degraded_by or not self._project.models[-1].group:
                raise TamperedError(
                    f"{release.name} is not the assigned release, or of no ranking: nothing to interleave"
                )
            return self._open(told, self._own_copy(told))
        except (TidemillError, OSError, ValueError, KeyError) as error:
            REFUSED.inc()
            log.error("alone: %s", error)
            self.alone = str(error)
            return None

    def apart(self) -> bool:
        """Whether the slot is no longer told to hold a release beside its own; False while that cannot be read."""
        try:
            told = read_assignment(self._assignment)
        except (TidemillError, OSError):
            return False
        return told is None or told.beside is None

    def _remember(self, path: Path, release: Assignment) -> None:
        write_atomically(path, json.dumps(asdict(release)).encode())

    def _withdraw(self, kept: Assignment | None, previous: Assignment | None) -> None:
        """A release that was taken away, as a rollout does with one it rolls back, is nothing to fall back to."""
        if previous and kept:
            self._remember(self._verified, replace(previous, epoch=max(kept.epoch, previous.epoch)))
            self._previous.unlink()
        elif kept:
            self._verified.unlink()

    def _load(self, wanted: Assignment, kept: Assignment | None) -> Release:
        if (wanted.project, wanted.slot) != (self._project.name, self._slot):
            raise TamperedError(f"{self._assignment} is for slot {wanted.slot} of {wanted.project}")
        if kept and wanted.epoch < kept.epoch:
            raise TamperedError(f"{wanted.release} is of epoch {wanted.epoch}; this slot has seen {kept.epoch}")
        return self._open(wanted, self._own_copy(wanted))

    def _open(self, wanted: Assignment, folder: Path) -> Release:
        manifest = verify_bundle(folder, wanted.digest)
        if manifest["release"] != wanted.release or manifest["project"] != self._project.name:
            raise TamperedError(f"{folder} holds {manifest['release']} of {manifest['project']}, not {wanted.release}")
        if not same_contract(self._project, manifest, self._project.models[-1].inputs):
            raise TamperedError(
                f"{wanted.release} was made for other feature views or another features.py than this code has; "
                "train again, or serve it with the code it was made with"
            )
        scorer, features = Scorer.load(folder, manifest), hook(self._project, "features")
        scorer.score(np.zeros((1, len(scorer.inputs))))
        return Release(
            assignment=wanted, folder=folder, scorer=scorer, request=features.request, rule=rule(self._project),
            decisions=manifest.get("decisions", {}), catalogue=_catalogue(folder, manifest),
        )  # fmt: skip

    def _own_copy(self, wanted: Assignment) -> Path:
        """This slot's copy of the bundle, so that what was verified is what is loaded, now and at the next start."""
        folder = self._copies / f"{self._slot}-{wanted.digest[:24]}"
        if folder.exists():
            try:
                verify_bundle(folder, wanted.digest, probe=False)
            except TamperedError:
                shutil.rmtree(folder)
            else:
                return folder
        source = located(wanted.folder)
        manifest = verify_bundle(source, wanted.digest, probe=False)
        self._copies.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=self._copies))
        try:
            for name in (MANIFEST, *manifest["files"]):
                shutil.copyfile(source / name, staging / name)
            staging.rename(folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return folder

    def _fall_back(self, wanted: Assignment | None, *earlier: Assignment | None) -> Release | None:
        for one in filter(None, earlier):
            try:
                release = self._open(one, self._own_copy(one))
            except (TidemillError, OSError, ValueError, KeyError) as error:
                self._refuse(error)
            else:
                same = wanted is not None and one.digest == wanted.digest
                return release if same else replace(release, degraded_by=PREVIOUS)
        return self._rule(wanted)

    def _rule(self, wanted: Assignment | None) -> Release | None:
        if not self._project.serving.rule_baseline or RULE not in self._project.models[-1].baselines:
            return None
        features = hook(self._project, "features")
        told = Assignment(
            project=self._project.name, slot=self._slot, release=RULE, digest="", epoch=wanted.epoch if wanted else 0, folder=""
        )  # fmt: skip
        return Release(
            assignment=told, folder=self._copies, scorer=None, request=features.request, rule=rule(self._project),
            decisions=_of_rule(self._project.models[-1]), degraded_by=BASELINE,
        )  # fmt: skip

    def _refuse(self, error: Exception) -> None:
        REFUSED.inc()
        log.error("refused: %s", error)
        self.refused = f"{self.refused}; {error}" if self.refused else str(error)

    def _forget(self, now: Assignment, before: Assignment | None) -> None:
        needed = {f"{self._slot}-{one.digest[:24]}" for one in (now, before, now.beside) if one}
        for folder in self._copies.glob(f"{self._slot}-*"):
            if folder.name not in needed:
                shutil.rmtree(folder, ignore_errors=True)


def _catalogue(folder: Path, manifest: Mapping[str, Any]) -> Catalogue | None:
    found = [Scorer.load(folder, manifest, entry["name"]) for entry in manifest["models"] if entry.get("item")]
    return next((scorer.catalogue for scorer in found if isinstance(scorer, Candidates)), None)


def _of_rule(model: Model) -> Mapping[str, Any]:
    if model.group:
        return ORDER
    return {"costs": {one.name: one.costs for one in model.decisions}} if model.decisions else _BY_RULE
