"""A run that went all the way from a made-up snapshot to a registered challenger, made once a session."""

from __future__ import annotations

import functools
import shutil
from dataclasses import dataclass
from pathlib import Path

from jobs.lake import Lake
from jobs.release.ledger import Challenger, Ledger
from jobs.settings import Settings
from jobs.spec import Project
from jobs.stages import evaluate, gate, register, train
from tests.training.synthetic import frame, own_database, publish_snapshot, small_project

RUN = "first"


@dataclass(frozen=True)
class Trained:
    """Where the run is, and the release it became."""

    project: Project
    settings: Settings
    challenger: Challenger

    @property
    def run(self) -> Path:
        return Lake(self.settings.lake_uri).run(self.project.name, RUN)

    @property
    def bundle(self) -> Path:
        return Lake(self.settings.lake_uri).release(self.project.name, self.challenger.release)

    def copied(self, home: Path, postgres: str) -> Trained:
        """The same run in a lake and a ledger of a test's own, to be broken."""
        shutil.copytree(self.settings.home, home, dirs_exist_ok=True)
        settings = own_database(home_of(home), postgres)
        with Ledger(settings.need("database_url")) as ledger:
            c = self.challenger
            ledger.set_challenger(self.project.name, c.release, c.digest, c.run)
            found = ledger.challenger(self.project.name)
        assert found is not None
        return Trained(self.project, settings, found)


def home_of(home: Path) -> Settings:
    """Settings whose every path is below a folder, and whose MLflow nobody answers for."""
    return Settings(
        _env_file=None,  # type: ignore[call-arg]
        home=home,
        lake_uri=str(home / "lake"),
        online_store_url=f"sqlite:///{home / 'online'}",
        mlflow_url="http://127.0.0.1:1",
    )


@functools.cache
def trained(postgres: str, home: Path) -> Trained:
    """The run, trained the first time it is asked for."""
    project, settings = small_project(), own_database(home_of(home), postgres)
    publish_snapshot(settings, RUN, frame())
    for stage in (train, evaluate, gate, register):
        result = stage.run(project, settings, run=RUN)
        assert result.exit_code == 0, result.line
    with Ledger(settings.need("database_url")) as ledger:
        challenger = ledger.challenger(project.name)
    assert challenger is not None
    return Trained(project, settings, challenger)
