"""Matured labels, performance on them, and when they lead to another training."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from jobs.batch import Batches
from jobs.lake import Lake, located
from jobs.release.bundle import Bundle
from jobs.release.ledger import Ledger
from jobs.settings import Settings
from jobs.spec import Gate, Project, Threshold
from jobs.stages import labels, performance, request_retrain, snapshot
from jobs.storage import current, publish, write_atomically
from jobs.training.sources import Sources
from tests.monitoring.conftest import put
from tests.training.published import publish_days

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


def test_training_and_monitoring_know_the_same_labels_at_the_end_of_a_day(
    project: Project, settings: Settings, lake: Lake, serve: Serve, label: Label
) -> None:
    for offset in range(5):  # label times run from 9 to 13 February, within the days too
        day = FIRST + timedelta(days=offset)
        label(day, serve(day, count=50))
        spine = pq.ParquetFile(current(lake.spine(project.name, day)).paths()[0]).read().to_pandas()  # type: ignore[union-attr]
        noughts = dict.fromkeys(("genuine", "genuine_cents", "genuine_day", "small_fraud"), 0)
        late = spine["label_time"] + timedelta(hours=12)
        put(lake.spine(project.name, day), spine.assign(label_time=late, **noughts), day)
    labels.run(project, settings, batches=Batches(DAY, DAY))
    measured = pq.ParquetFile(current(lake.labels(project.name, DAY)).paths()[0]).read().to_pandas()  # type: ignore[union-attr]
    project = replace(project, views=())
    days = Batches(FIRST, FIRST + timedelta(days=4))
    learned = Sources.of(project, lake, days).frame(project.models[-1], DAY).to_pandas()
    assert 150 < len(learned) < 200, "some labels of the fourth day are certain, none of the fifth"
    wanted = ["event_id", "label"]
    pd.testing.assert_frame_equal(
        *(frame.sort_values("event_id")[wanted].reset_index(drop=True) for frame in (measured, learned))
    )


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
    html = located(got.facts["report"]).read_text()
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


def drifted_since_the_champion(
    project: Project, settings: Settings, lake: Lake, champion: Bundle
) -> tuple[Project, date]:
    """The project and a day with drift, no label being newer than what the champion was trained on."""
    project, day = replace(project, views=()), date(2026, 3, 1)
    publish_days(lake, Batches(date(2026, 1, 1), date(2026, 2, 28)), rows=30)
    snapshot.run(project, settings, run=str(champion.manifest["run"]), as_of=None, negative_control=False)
    verdict(lake, project, "drift", day, "drift")
    return project, day


def test_a_training_on_what_the_champion_was_trained_on_is_refused_as_pointless_unless_forced(
    project: Project, settings: Settings, lake: Lake, champion: Bundle
) -> None:
    project, day = drifted_since_the_champion(project, settings, lake, champion)
    refused = request_retrain.run(project, settings, batches=Batches(day, day))
    assert refused.exit_code == 99
    assert "drift: as tested, but a training would be pointless" in refused.line
    assert "up to 2026-02-28" in refused.line
    with Ledger(settings.need("database_url")) as ledger:
        assert ledger.last_retrain_request(project.name) is None
        assert not ledger.audits(project.name)

        forced = request_retrain.run(project, settings, batches=Batches(day, day), force=True)
        assert (forced.exit_code, "asked for by hand" in forced.line) == (0, True)
        audit = ledger.audits(project.name)[0]
        assert audit["what"] == "request-retrain --force"
        assert "pointless" in audit["document"]["overridden"][0]
        assert ledger.last_retrain_request(project.name).batch == day  # type: ignore[union-attr]

    publish_days(lake, Batches(day, day), rows=30)
    later = day + timedelta(days=project.drift.cool_down_days)
    verdict(lake, project, "drift", later, "drift")
    assert request_retrain.run(project, settings, batches=Batches(later, later)).exit_code == 0, "there are new labels"


def test_another_declaration_is_another_training_on_the_same_data(
    project: Project, settings: Settings, lake: Lake, champion: Bundle
) -> None:
    project, day = drifted_since_the_champion(project, settings, lake, champion)
    changed = replace(project, models=(replace(project.models[0], trials=99),))
    assert request_retrain.run(changed, settings, batches=Batches(day, day)).exit_code == 0


def test_a_metric_below_its_floor_within_chance_is_unknown_and_asks_for_nothing(
    project: Project, settings: Settings, lake: Lake, serve: Serve, label: Label, champion: Bundle
) -> None:
    for offset in range(4):
        day = FIRST + timedelta(days=offset)
        label(day, serve(day, count=700))
    labels.run(project, settings, batches=Batches(DAY, DAY))
    found = performance.run(_bounded(project), settings, batches=Batches(DAY, DAY)).facts
    check = found["checks"][-1]
    assert check["low"] < check["value"] < check["high"]
    assert check["samples"] == {"rows": 2_800, "positives": 140}
    within, beyond = (check["value"] + check["high"]) / 2, (check["high"] + 1) / 2
    for floor, finding, decision in ((within, "unknown", "HOLD"), (beyond, "below the floor", "RETRAIN")):
        got = performance.run(_bounded(project, floor), settings, batches=Batches(DAY, DAY))
        assert (got.facts["finding"], got.facts["verdict"], got.facts["rule"]) == (finding, decision, "roc_auc")
        assert request_retrain.run(project, settings, batches=Batches(DAY, DAY)).exit_code == 99 * (decision == "HOLD")
    with Ledger(settings.need("database_url")) as ledger:
        assert [one.verdict for one in ledger.verdicts(project.name, "performance")] == ["RETRAIN", "HOLD", "HOLD"]


def _bounded(project: Project, floor: float = 0.7) -> Project:
    gate = Gate(thresholds=(Threshold(metric="roc_auc", minimum=floor),), minimum_rows=1_000, minimum_positives=20)
    return replace(project, gate=gate)
