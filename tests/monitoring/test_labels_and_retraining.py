"""Matured labels, performance on them, and when they lead to another training."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from jobs.batch import Batches
from jobs.lake import Lake
from jobs.release.bundle import Bundle
from jobs.release.ledger import Ledger
from jobs.settings import Settings
from jobs.spec import Project
from jobs.stages import labels, performance, request_retrain
from jobs.storage import current, publish, write_atomically
from tests.monitoring.conftest import put

FIRST, DAY = date(2026, 2, 2), date(2026, 2, 12)
Serve = Callable[..., pd.DataFrame]
Label = Callable[..., None]


def verdict(lake: Lake, project: Project, kind: str, day: date, text: str) -> None:
    """Publishes a result as the drift or performance stage does."""

    def write(folder: Path) -> int:
        decision = "RETRAIN" if text in {"drift", "below the floor"} else "HOLD"
        result = {"verdict": decision, "finding": text, "reason": "as tested"}
        write_atomically(folder / "result.json", json.dumps(result).encode())
        return 1

    publish(lake.monitoring(project.name, kind, day), write, inputs={"test": text}, watermark=str(day))


def test_labels_are_joined_once_an_event_and_only_when_they_have_matured(
    project: Project, settings: Settings, lake: Lake, serve: Serve, label: Label
) -> None:
    for offset in range(5):  # label times run from 9 to 13 February
        day = FIRST + timedelta(days=offset)
        label(day, serve(day, count=100, repeat=True))
    got = labels.run(project, settings, batches=Batches(DAY - timedelta(days=1), DAY - timedelta(days=1)))
    assert (got.exit_code, got.facts["predictions"], got.facts["matured"]) == (0, 300, 300)
    got = labels.run(project, settings, batches=Batches(DAY, DAY))
    assert (got.facts["predictions"], got.facts["matured"], got.facts["positives"]) == (400, 400, 20)
    published = current(lake.labels(project.name, DAY))
    assert published is not None
    table = pq.ParquetFile(published.paths()[0]).read().to_pandas()
    assert table["event_id"].is_unique
    assert set(table["request_id"].str.endswith("-again")) == {True}, (
        "the last answer of an event is the one that counts"
    )
    assert table["label_time"].max() < pd.Timestamp("2026-02-13", tz="UTC")
    before = published.digest
    assert labels.run(project, settings, batches=Batches(DAY, DAY)).facts == got.facts
    assert labels.run(project, settings, batches=Batches(DAY, DAY), force=True).exit_code == 0
    assert current(lake.labels(project.name, DAY)).digest == before  # type: ignore[union-attr]


def test_a_label_older_than_the_window_or_unknown_is_left_out(
    project: Project, settings: Settings, lake: Lake, serve: Serve, label: Label
) -> None:
    log = serve(FIRST, count=50)
    label(FIRST, log)
    late = FIRST + timedelta(days=project.label.delay_days + 31)
    assert labels.run(project, settings, batches=Batches(late, late)).exit_code == 99
    spine = pq.ParquetFile(current(lake.spine(project.name, FIRST)).paths()[0]).read().to_pandas()  # type: ignore[union-attr]
    spine["label"] = spine["label"].astype("boolean")
    spine.loc[:9, "label"] = pd.NA
    put(lake.spine(project.name, FIRST), spine, FIRST)
    assert labels.run(project, settings, batches=Batches(DAY, DAY)).facts["matured"] == 40


def test_without_predictions_or_features_there_is_nothing_to_do(
    project: Project, settings: Settings, lake: Lake, serve: Serve
) -> None:
    got = labels.run(project, settings, batches=Batches(DAY, DAY + timedelta(days=1)))
    assert got.exit_code == 99
    assert "has been ingested" in got.line
    serve(FIRST)
    got = labels.run(project, settings, batches=Batches(DAY, DAY))
    assert (got.exit_code, "has features yet" in got.line) == (99, True)
    assert current(lake.labels(project.name, DAY)) is None


@pytest.mark.parametrize(
    ("good", "count", "expected"), [(True, 700, "holds"), (False, 700, "below the floor"), (True, 60, "unknown")]
)
def test_performance_holds_the_champion_to_the_gates_floor(
    good: bool, count: int, expected: str,
    project: Project, settings: Settings, lake: Lake, serve: Serve, label: Label, champion: Bundle,
) -> None:  # fmt: skip
    project = _bounded(project)
    for offset in range(4):
        day = FIRST + timedelta(days=offset)
        label(day, serve(day, count=count), good=good)
    assert performance.run(project, settings, batches=Batches(DAY, DAY)).exit_code == 99, "labels come first"
    labels.run(project, settings, batches=Batches(DAY, DAY))
    got = performance.run(project, settings, batches=Batches(DAY, DAY))
    assert got.facts["finding"] == expected, got.line
    assert got.facts["verdict"] == ("RETRAIN" if expected == "below the floor" else "HOLD")
    mine = got.facts["releases"][champion.release]
    assert mine["rows"] == count * 4
    assert mine["positives"] == count * 4 // 20
    assert (mine["metrics"]["roc_auc"] > 0.9) is good
    html = Path(got.facts["report"]).read_text()
    assert expected in html
    assert "http" not in html
    assert performance.run(project, settings, batches=Batches(DAY, DAY)).facts == got.facts


def test_performance_of_one_class_is_undefined_and_no_crash(
    project: Project, settings: Settings, serve: Serve, label: Label, lake: Lake, champion: Bundle
) -> None:
    label(FIRST, serve(FIRST))
    spine = pq.ParquetFile(current(lake.spine(project.name, FIRST)).paths()[0]).read().to_pandas()  # type: ignore[union-attr]
    put(lake.spine(project.name, FIRST), spine.assign(label=False), FIRST)
    labels.run(project, settings, batches=Batches(DAY, DAY))
    got = performance.run(project, settings, batches=Batches(DAY, DAY))
    assert (got.facts["verdict"], got.facts["finding"]) == ("HOLD", "unknown")
    assert got.facts["releases"][champion.release]["metrics"]["roc_auc"] is None


@pytest.mark.fault("F18")
def test_fifty_days_of_drift_ask_for_one_training_each_cool_down(
    project: Project, settings: Settings, lake: Lake, champion: Bundle
) -> None:
    first = date(2026, 3, 1)
    asked = []
    for offset in range(50):
        day = first + timedelta(days=offset)
        verdict(lake, project, "drift", day, "drift")
        for _ in range(2):
            if request_retrain.run(project, settings, batches=Batches(day, day)).exit_code == 0:
                asked.append(day)
    gaps = {(later - earlier).days for earlier, later in pairwise(asked)}
    assert asked[0] == first
    assert gaps == {project.drift.cool_down_days}
    with Ledger(settings.need("database_url")) as ledger:
        assert ledger.last_retrain_request(project.name).batch == asked[-1]  # type: ignore[union-attr]


def test_a_retry_of_the_same_orchestrated_run_gets_the_same_answer(
    project: Project, settings: Settings, lake: Lake, champion: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = date(2026, 3, 1)
    verdict(lake, project, "drift", day, "drift")
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "scheduled__2026-03-02")
    first, retry = (request_retrain.run(project, settings, batches=Batches(day, day)) for _ in range(2))
    assert first == retry
    assert first.facts["requested"] is True
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "manual__2026-03-02")
    assert request_retrain.run(project, settings, batches=Batches(day, day)).exit_code == 99


@pytest.mark.parametrize(
    ("drift", "quality", "day", "asked", "said"),
    [
        ("drift", None, date(2026, 3, 1), True, "drift: as tested"),
        ("no drift", "below the floor", date(2026, 3, 1), True, "performance: as tested"),
        ("no drift", "holds", date(2026, 3, 1), False, "drift: no drift; performance: holds"),
        ("unknown", "unknown", date(2026, 3, 1), False, "nothing calls for a training"),
        (None, None, date(2026, 3, 1), False, "drift: not measured"),
        ("drift", None, date(2026, 1, 30), False, "the champion was trained on what was known on 2026-01-28"),
    ],
)
def test_what_calls_for_a_training(
    drift: str | None, quality: str | None, day: date, asked: bool, said: str,
    project: Project, settings: Settings, lake: Lake, champion: Bundle,
) -> None:  # fmt: skip
    for kind, text in (("drift", drift), ("performance", quality)):
        if text:
            verdict(lake, project, kind, day, text)
    got = request_retrain.run(project, settings, batches=Batches(day, day))
    assert (got.exit_code == 0, said in got.line) == (asked, True), got.line


def _bounded(project: Project) -> Project:
    from dataclasses import replace

    from jobs.spec import Gate, Threshold

    gate = Gate(thresholds=(Threshold(metric="roc_auc", minimum=0.7),), minimum_rows=1_000, minimum_positives=20)
    return replace(project, gate=gate)
