"""A model that fails half way: what was published stays, and the run after it ends as if nothing had happened."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import pytest

from jobs import warehouse
from jobs.batch import Batches
from jobs.errors import TidemillError
from jobs.lake import Lake
from jobs.projects.fraud.spec import FRAUD
from jobs.settings import Settings
from jobs.stages import features
from tests.features.clean import deliver, payment, report

DAYS = [date(2026, 1, day) for day in (1, 2, 3)]


def delivered(lake: Lake, day: date) -> None:
    deliver(lake, day, [payment(day, f"e{day.day}{n}", f"c{n}", "t", 100 + n) for n in range(4)],
            [report(day, f"e{day.day}0")])  # fmt: skip


def everything(lake: Lake) -> dict[str, bytes]:
    """Every file of the offline store by its path, pointers and audits included."""
    root = Path(lake.root) / "features"
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.fault("F42")
def test_a_model_that_fails_half_way_changes_nothing_and_the_rerun_ends_the_same(
    settings: Settings, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    untroubled = Settings(
        _env_file=None,
        home=tmp_path / "untroubled",
        lake_uri=str(tmp_path / "untroubled" / "lake"),
        online_store_url=f"sqlite:///{tmp_path / 'untroubled' / 'online'}",
    )
    for one in (settings, untroubled):
        for day in DAYS[:2]:
            delivered(Lake(one.lake_uri), day)
        features.run(FRAUD, one, batches=Batches(DAYS[0], DAYS[1]))
        delivered(Lake(one.lake_uri), DAYS[2])
    before = everything(lake)
    assert sum(path.endswith("current.json") for path in before) == 4

    broken = tmp_path / "broken"
    shutil.copytree(warehouse.MODELS, broken)
    spine = broken / "models" / "marts" / "fraud" / "fraud_spine.sql"
    # The models before it are built; it fails at the last day's rows, while it writes.
    spine.write_text(
        f"{spine.read_text()}\nand case when batches.batch = date '{DAYS[2]}' then error('half way') end is null\n"
    )
    with monkeypatch.context() as patch:
        patch.setattr(warehouse, "MODELS", broken)
        with pytest.raises(TidemillError, match=r"nothing was published:\n.*fraud_spine: .*half way"):
            features.run(FRAUD, settings, batches=Batches(DAYS[2], DAYS[2]))
    assert everything(lake) == before
    assert not list((settings.home / "dbt").iterdir())

    for one in (settings, untroubled):
        assert features.run(FRAUD, one, batches=Batches(DAYS[2], DAYS[2])).exit_code == 0
    assert everything(lake) == everything(Lake(untroubled.lake_uri))
    assert len(everything(lake)) > len(before)
