"""The loop's stages with the lake on S3, each on a machine of its own that has never seen the lake before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from jobs import mirror
from jobs.batch import Batches
from jobs.lake import Lake, located
from jobs.projects import find
from jobs.release.bundle import verify_bundle
from jobs.release.ledger import Ledger
from jobs.settings import Settings
from jobs.spec import Approval
from jobs.stages import approval, etl, evaluate, features, gate, ingest, register, simulate, train, validate
from jobs.storage import current, verify
from tests import buckets
from tests.training.runs import RUN, home_of
from tests.training.synthetic import frame, own_database, publish_snapshot, small_project

pytestmark = pytest.mark.services
DAYS = Batches.parse("2026-01-01..2026-01-03")


@pytest.fixture
def on_s3(aws: str, tmp_path: Path) -> Settings:
    return home_of(tmp_path).model_copy(update={"lake_uri": f"s3://{buckets.new_bucket()}/lake"})


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The next of it makes this process another machine, whose mirror is empty."""

    def another() -> Iterator[int]:
        for number in count():
            monkeypatch.setattr("jobs.lake.HOME", tmp_path / f"machine{number}")
            yield number

    return another()


def test_data_comes_to_the_same_on_many_machines_as_in_a_folder_of_one(
    on_s3: Settings, machine: Iterator[int], tmp_path: Path
) -> None:
    project, digests = find("fraud"), []
    for settings in (home_of(tmp_path / "folder"), on_s3):
        next(machine)
        simulate.run(project, settings, batches=DAYS, out=tmp_path / "out", deliver=True)
        for stage in (ingest, etl, validate, features):
            next(machine)
            result = stage.run(project, settings, batches=DAYS)  # type: ignore[attr-defined]
            assert result.exit_code == 0, result.line
        next(machine)
        lake = Lake(settings.lake_uri)
        pointers = mirror.files_named(lake.folder, "current.json")
        assert len(pointers) > 4 * len(DAYS)
        found = {}
        for pointer in pointers:
            published = current(pointer.parent)
            assert published is not None
            verify(published)
            found[pointer.parent.relative_to(lake.folder).as_posix()] = published.digest
        digests.append(found)
    assert digests[0] == digests[1]
    next(machine)
    features.run(project, on_s3, batches=DAYS)
    spine = current(Lake(on_s3.lake_uri).spine(project.name, DAYS.last))
    assert spine is not None
    assert spine.epoch == 1, "another machine finds that everything is there"


def test_a_training_becomes_a_release_that_any_machine_can_verify(
    on_s3: Settings, machine: Iterator[int], postgres: str
) -> None:
    project, settings = replace(small_project(), approval=Approval()), own_database(on_s3, postgres)
    next(machine)
    publish_snapshot(settings, RUN, frame())
    for stage in (train, evaluate, gate):
        next(machine)
        result = stage.run(project, settings, run=RUN)  # type: ignore[attr-defined]
        assert result.exit_code == 0, result.line
    next(machine)
    page = approval.run(project, settings, run=RUN, action="show").facts["page"]
    next(machine)
    assert page.startswith("s3://")
    assert b"data:image/png;base64," in (mirror.read(located(page)) or b""), "whoever is asked can look at it"
    approval.run(project, settings, run=RUN, action="answer", answer="approve", by="ada")
    next(machine)
    assert register.run(project, settings, run=RUN).exit_code == 0
    next(machine)
    with Ledger(settings.need("database_url")) as ledger:
        challenger = ledger.challenger(project.name)
    assert challenger is not None
    manifest = verify_bundle(Lake(settings.lake_uri).release(project.name, challenger.release), challenger.digest)
    assert manifest["run"] == RUN
