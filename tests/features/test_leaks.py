"""Features that know the future, planted where they happen: the command that would learn from them fails and says so."""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from jobs import warehouse
from jobs.__main__ import app
from jobs.batch import Batches
from jobs.errors import DataRejected
from jobs.features.offline import available_at
from jobs.lake import Lake
from jobs.projects.fraud.spec import CUSTOMER_PROFILE, INPUTS
from jobs.settings import Settings
from jobs.storage import current, publish
from jobs.training.leaks import telling
from tests.features.clean import deliver, payment
from tests.training.published import publish_days
from tests.training.synthetic import AS_OF, PLAN, frame, publish_snapshot

DAYS = [date(2026, 1, day) for day in range(1, 6)]
FIRST = CUSTOMER_PROFILE.features[0]


@pytest.fixture
def command(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`tidemill …` for an installation of this test's own."""
    for name, value in (
        ("HOME", settings.home),
        ("LAKE_URI", settings.lake_uri),
        ("ONLINE_STORE_URL", settings.online_store_url),
        ("MLFLOW_URL", "http://127.0.0.1:1"),
    ):
        monkeypatch.setenv(f"TIDEMILL_{name}", str(value))
    return lambda line: CliRunner().invoke(app, line.split())


def refused(result: Result, *words: str) -> None:
    assert isinstance(result.exception, DataRejected), (result.exception, result.output)
    for word in words:
        assert word in str(result.exception), str(result.exception)


def planted(folder: Path, old: str, new: str) -> Path:
    """The models with a change to the customer mart, and without the unit tests that would tell at once."""
    shutil.copytree(warehouse.MODELS, folder)
    mart = folder / "models" / "marts" / "fraud" / "fraud_customer_profile.sql"
    text = mart.read_text()
    assert old in text
    mart.write_text(text.replace(old, new))
    stated = mart.with_suffix(".yml")
    stated.write_text(stated.read_text().partition("unit_tests:")[0])
    return folder


@pytest.mark.fault("F39")
def test_a_mart_with_information_of_the_next_day_fails_the_backfill(
    command: Any, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in DAYS:
        deliver(lake, day, [payment(day, f"{day}-{n}", f"c{n}", "t", 100 + n) for n in range(4)])
    honest, models = warehouse.MODELS, planted(tmp_path / "dbt", "ages.age as date", "(ages.age - 1) as date")
    monkeypatch.setattr(warehouse, "MODELS", models)
    line = f"features --project fraud --batch {DAYS[0]}..{DAYS[-1]}"
    refused(
        command(line),
        "know days that had not happened yet; nothing was published",
        f"fraud_customer_profile of 2026-01-03: another value without the days after it: {FIRST} in 4 of 4 rows",
    )
    assert not list(Path(lake.root).glob("features/**/current.json"))

    monkeypatch.setattr(warehouse, "MODELS", honest)
    assert command(line).exit_code == 0
    assert current(lake.features("fraud", "customer_profile", DAYS[2])) is not None
    monkeypatch.setattr(warehouse, "MODELS", models)
    refused(command(line), "fraud_customer_profile of 2026-01-03")  # other models are looked at again


@pytest.mark.fault("F39")
@pytest.mark.parametrize(("early", "allowed"), [(timedelta(microseconds=1), False), (timedelta(0), True)], ids=str)
def test_a_value_visible_before_its_day_ended_fails_the_snapshot(
    command: Any, lake: Lake, early: timedelta, allowed: bool
) -> None:
    publish_days(lake, PLAN.days)
    for batch in Batches(AS_OF - timedelta(days=20), AS_OF):
        lead = early if batch == AS_OF - timedelta(days=9) else timedelta(0)
        rows = pa.table(
            {
                "customer_id": ["c1"],
                "batch": pa.array([batch], pa.date32()),
                "available_at": pa.array([available_at(CUSTOMER_PROFILE, batch) - lead], pa.timestamp("us", "UTC")),
                **{name: pa.array([1], pa.int64()) for name in CUSTOMER_PROFILE.features},
            }
        )
        publish(
            lake.features("fraud", "customer_profile", batch),
            lambda folder, rows=rows: pq.write_table(rows, folder / "part-00000.parquet") or 1,
            inputs={},
            watermark=str(batch),
        )
    publish_days(lake, Batches(PLAN.final.test.last + timedelta(days=1), AS_OF))
    result = command("snapshot --project fraud --run planted")
    if allowed:
        assert result.exit_code == 0, result.exception
        return
    refused(
        result,
        f"view 'customer_profile', batch 2026-02-13: customer_profile__{FIRST}, ",
        "visible 0:00:00.000001 before",
    )
    assert current(lake.run("fraud", "planted") / "snapshot") is None


@pytest.mark.fault("F39")
@pytest.mark.parametrize("sign", [1, -1], ids=["as it is", "turned round"])
def test_an_input_that_is_the_label_fails_the_training(command: Any, settings: Settings, lake: Lake, sign: int) -> None:
    table = frame()
    label = np.asarray(table["label"]).astype(float)
    noise = np.random.default_rng(1).random(len(label))
    at = table.column_names.index("terminal_risk_7d")
    publish_snapshot(
        settings, "planted", table.set_column(at, "terminal_risk_7d", pa.array(sign * (label + 0.9 * noise)))
    )
    refused(
        command("train --project fraud --run planted"), "input 'terminal_risk_7d' alone tells", "nothing was trained"
    )
    assert not list(lake.run("fraud", "planted").glob("candidates/**/current.json"))


def test_what_is_merely_good_or_could_be_chance_is_learned_from() -> None:
    random = np.random.default_rng(3)
    label = random.random(20_000) < 0.05
    good = np.column_stack([label + random.normal(0, 0.45, len(label)), random.random(len(label))])
    assert list(telling(("good", "noise"), good, label)) == []
    rare = np.zeros(20_000, bool)
    rare[:19] = True
    assert list(telling(("chance",), rare[:, None].astype(float), rare)) == []
    rare[:20] = True
    assert "'chance'" in next(iter(telling(("chance",), rare[:, None].astype(float), rare)))
    assert list(telling(INPUTS, np.zeros((0, len(INPUTS))), np.zeros(0, bool))) == []
