"""The features stage on a few made-up days: what arrives late, early, twice, badly or not at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from jobs import warehouse
from jobs.batch import Batches, day_start
from jobs.errors import DataRejected, MissingBatchError, StalePublishError
from jobs.features import vectors
from jobs.features.live.offline import windows
from jobs.features.online import OnlineStore
from jobs.lake import Lake
from jobs.projects.fraud.features import LARGE_CENTS
from jobs.projects.fraud.spec import CUSTOMER, CUSTOMER_PROFILE, FRAUD, TERMINAL
from jobs.result import Result
from jobs.settings import ROOT, Settings
from jobs.spec import LiveView, Window
from jobs.stages import features
from jobs.storage import AUDIT, require
from tests.features.clean import TRANSACTIONS, at, deliver, offline, payment, report, verdict

FIRST = date(2026, 1, 1)
MARTS = ("customer_profile", "spine")


def day(number: int) -> date:
    return FIRST + timedelta(days=number - 1)


def make(settings: Settings, first: int, last: int | None = None, force: bool = False) -> Result:
    return features.run(FRAUD, settings, batches=Batches(day(first), day(last or first)), force=force)


def counts(lake: Lake, number: int) -> dict[str, int]:
    """By customer, the payments of the last 30 days as of a day."""
    return {row["customer_id"]: row["count_30d"] for row in offline(lake, "customer_profile", day(number)).to_pylist()}


def online(settings: Settings, customer: str, number: int) -> tuple[list[int], bool]:
    """What a customer's payment in the morning of a day sees."""
    store = OnlineStore.open(settings.online_store_url, FRAUD)
    morning = int(day_start(day(number)).timestamp() + 3600 * 9) * 1_000_000
    values, found = store.read(CUSTOMER_PROFILE, [(customer,)], [morning])
    store.close()
    return values[0].tolist(), bool(found[0])


def digests(lake: Lake) -> dict[str, str]:
    return {
        f"{view}/{path.name}": require(path, "the test").digest
        for view in MARTS
        for path in sorted(lake.features("fraud", view, FIRST).parent.glob("batch=*"))
    }


@pytest.mark.fault("F27")
def test_a_late_event_counts_on_its_own_day_and_nothing_goes_back_online(settings: Settings, lake: Lake) -> None:
    for number in range(1, 6):
        deliver(lake, day(number), [payment(day(number), f"e{number}", "regular", "t", 100)])
    assert make(settings, 1, 5).exit_code == 0
    assert counts(lake, 5) == {"regular": 5}
    assert online(settings, "regular", 6) == ([5, 500], True)

    deliver(lake, day(6), [payment(day(6), "e6", "regular", "t", 100)])
    late = [payment(day(3), "e3", "regular", "t", 100), payment(day(3), "late", "newcomer", "t", 700)]
    deliver(lake, day(3), late, watermark=day(6))
    assert make(settings, 6).exit_code == 0
    assert counts(lake, 2) == {"regular": 2}
    assert [counts(lake, number)["newcomer"] for number in (3, 4, 5, 6)] == [1, 1, 1, 1]
    assert online(settings, "newcomer", 7) == ([1, 700], True)

    before = online(settings, "regular", 7)
    again = make(settings, 4)
    assert again.facts["published"] == 0
    assert online(settings, "regular", 7) == before == ([6, 600], True)


def test_days_in_any_order_end_the_same(settings: Settings, lake: Lake) -> None:
    for number in (1, 3):
        deliver(lake, day(number), [payment(day(number), f"e{number}", "c", "t", 100)])
    result = make(settings, 1, 3)
    assert result.exit_code == 1
    assert result.facts["missing"] == [str(day(2))]
    assert str(day(2)) in result.line
    assert counts(lake, 3) == {"c": 2}

    deliver(lake, day(2), [payment(day(2), "e2", "c", "t", 100)])
    assert make(settings, 2).exit_code == 0
    assert counts(lake, 3) == {"c": 3}
    assert online(settings, "c", 4) == ([3, 300], True)

    made = digests(lake)
    rerun = make(settings, 1, 3)
    assert (rerun.exit_code, rerun.facts["published"], rerun.facts["rows"]) == (
        0,
        0,
        {"customer_profile": 3, "spine": 3},
    )
    assert rerun.facts["materialized"] == {"customer_profile": 0, "customer": 0, "terminal": 0}
    assert digests(lake) == made


def test_a_failed_batch_is_held_out_of_every_window_until_it_passes(settings: Settings, lake: Lake) -> None:
    for number in (1, 2, 3):
        deliver(lake, day(number), [payment(day(number), f"e{number}", "c", "t", 100)], passed=number != 2)
    result = make(settings, 1, 3)
    assert (result.exit_code, result.facts["held"]) == (1, [str(day(2))])
    assert f"held out, validation failed: {day(2)}" in result.line
    assert counts(lake, 3) == {"c": 2}
    assert not any(str(day(2)) in name for name in digests(lake))
    with pytest.raises(DataRejected, match=f"{day(2)} of fraud failed validation"):
        make(settings, 2)
    with pytest.raises(MissingBatchError, match=rf"{day(4)}.*tidemill validate --project fraud --batch {day(4)}"):
        make(settings, 4)

    verdict(lake, day(2), passed=True, watermark=str(day(3)))
    assert make(settings, 2, 3).exit_code == 0
    assert counts(lake, 3) == {"c": 3}


def test_what_was_not_validated_since_it_changed_is_not_read(settings: Settings, lake: Lake) -> None:
    deliver(lake, day(1), [payment(day(1), "e1", "c", "t", 100)])
    deliver(lake, day(1), [payment(day(1), "e1", "c", "t", 999)], watermark=day(2), judged=False)
    with pytest.raises(MissingBatchError, match="tidemill validate"):
        make(settings, 1)


def test_a_label_arrives_after_its_payment(settings: Settings, lake: Lake) -> None:
    deliver(lake, day(1), [payment(day(1), "stolen", "c", "t", 100), payment(day(1), "fine", "c", "t", 100)])
    make(settings, 1)
    assert [row["label"] for row in offline(lake, "spine", day(1)).to_pylist()] == [False, False]

    for number in range(2, 9):
        deliver(lake, day(number), [], [report(day(number), "stolen")] if number == 5 else [])
    make(settings, 8)
    rows = {row["event_id"]: row for row in offline(lake, "spine", day(1)).to_pylist()}
    assert {event: row["label"] for event, row in rows.items()} == {"stolen": True, "fine": False}
    assert rows["stolen"]["label_time"] - rows["stolen"]["event_time"] == timedelta(days=FRAUD.label.delay_days)
    risk = {"count_1d": 2, "frauds_1d": 1, "count_7d": 2, "frauds_7d": 1, "count_30d": 2, "frauds_30d": 1}
    risk |= {"count_21d": 2, "small_frauds_21d": 1, "last_small_fraud_21d": 1}
    risk |= {"last_genuine_day_21d": (day(1) - date(1970, 1, 1)).days}
    assert windows_at(settings, at(day(8))) == (risk, risk)
    nothing = dict.fromkeys(risk, 0)  # a label is used from when it is certain, and not a moment before
    assert windows_at(settings, at(day(8)) - timedelta(microseconds=1)) == (nothing, nothing)


def windows_at(settings: Settings, moment: datetime) -> tuple[dict[str, int], dict[str, int]]:
    """The windows of terminal t for a payment at a moment: from the lake, and from the online store."""
    asked = pa.Table.from_pylist(
        [payment(moment.date(), "asked", "c", "t", 100) | {"event_time": moment}], TRANSACTIONS
    )
    asked = asked.rename_columns(["event_id", *asked.column_names[1:]]).drop_columns(["is_fraud"])
    files = vectors.event_files(FRAUD, Lake(settings.lake_uri), moment.date(), moment.date())
    (row,) = windows(FRAUD.live_views, asked, files).to_pylist()
    store = OnlineStore.open(settings.online_store_url, FRAUD)
    payload = vectors.payload(FRAUD, asked)
    found = store.look_up(payload, ["asked"], payload["event_time"], add=False)
    store.close()
    return (
        {name: row[f"terminal__{name}"] for name in TERMINAL.features},
        dict(zip(TERMINAL.features, found.values["terminal"][0].tolist(), strict=True)),
    )


@pytest.mark.parametrize("views", [{"views": ()}, {"live_views": ()}], ids=["no batch views", "no live views"])
def test_a_project_may_have_one_kind_of_view(settings: Settings, lake: Lake, views: dict[str, tuple[()]]) -> None:
    project = replace(FRAUD, **views)
    deliver(lake, day(1), [payment(day(1), "e1", "c", "t", 100)])
    result = features.run(project, settings, batches=Batches(day(1), day(1)))
    assert result.facts["rows"] == {**{view.name: 1 for view in project.views}, "spine": 1}
    assert result.facts["materialized"] == {view.name: 1 for view in project.every_view}


def test_events_that_a_live_view_names_are_published_by_event_day(
    settings: Settings, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the spine, under the same rules: a late event's day is made again, and its key's windows with it."""
    models = tmp_path / "dbt-with-large"
    shutil.copytree(warehouse.MODELS, models)
    (models / "models" / "marts" / "fraud" / "fraud_large.sql").write_text(LARGE)
    monkeypatch.setattr(warehouse, "MODELS", models)
    view = LiveView(
        name="large",
        entity=("customer_id",),
        windows=(Window(name="count_30d", function="count", length=timedelta(days=30)),),
        events="large",
    )
    project = replace(FRAUD, live_views=(CUSTOMER, view))
    for number in (1, 2):
        deliver(lake, day(number), [payment(day(number), f"e{number}", "c", "t", 60_000 * number)])
    result = features.run(project, settings, batches=Batches(day(1), day(2)))
    assert result.facts["rows"] == {"customer_profile": 2, "spine": 2, "large": 1}
    assert [row["event_id"] for row in offline(lake, "large", day(2)).to_pylist()] == ["e2"]
    assert offline(lake, "large", day(1)).num_rows == 0

    deliver(lake, day(1), [payment(day(1), "late", "c", "t", 200_000)], watermark=day(3))
    deliver(lake, day(3), [])
    assert features.run(project, settings, batches=Batches(day(3), day(3))).exit_code == 0
    store = OnlineStore.open(settings.online_store_url, project)
    noon = int(at(day(3)).timestamp()) * 1_000_000
    payload = {"event_time": np.array([noon]), "customer_id": np.array(["c"]), "amount_cents": np.array([1])}
    found = store.look_up(payload, ["asked"], [noon], add=False)
    store.close()
    assert found.values["large"].tolist() == [[3]]  # e2, the late one, and the one that asks


LARGE = """
select p.event_id, p.event_time, p.customer_id, p.amount_cents, p.event_day as batch
from {{ ref('fraud_payments') }} as p
inner join {{ source('fraud', 'batches') }} as b on p.event_day = b.batch
where b.mart = 'large' and p.amount_cents >= 100000
"""


@pytest.mark.fault("F10")
def test_older_events_do_not_replace_features_of_newer_ones(settings: Settings, lake: Lake) -> None:
    newer = [payment(day(1), "e1", "c", "t", 100), payment(day(1), "e2", "c", "t", 100)]
    deliver(lake, day(1), newer, watermark=day(3))
    make(settings, 1)
    deliver(lake, day(1), newer[:1], watermark=day(2), force=True)
    with pytest.raises(StalePublishError, match=f"inputs up to {day(3)}, newer than {day(2)}"):
        make(settings, 1)
    assert counts(lake, 1) == {"c": 2}

    make(settings, 1, force=True)
    assert counts(lake, 1) == {"c": 1}
    (line,) = (lake.features("fraud", "customer_profile", day(1)) / AUDIT).read_text().splitlines()
    assert json.loads(line)["watermarks"] == [str(day(3)), str(day(2))]


@pytest.mark.fault("F07")
def test_two_runs_at_once_publish_once(settings: Settings, lake: Lake) -> None:
    for number in (1, 2):
        deliver(lake, day(number), [payment(day(number), f"e{number}", "c", "t", 100)])
    environment = os.environ | {
        "TIDEMILL_HOME": str(settings.home),
        "TIDEMILL_LAKE_URI": settings.lake_uri,
        "TIDEMILL_ONLINE_STORE_URL": settings.online_store_url,
    }
    command = [
        sys.executable,
        "-m",
        "jobs",
        "features",
        "--project",
        "fraud",
        "--batch",
        f"{day(1)}..{day(2)}",
        "--json",
    ]
    runs = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], answers
    assert all(json.loads(out)["rows"] == {"customer_profile": 2, "spine": 2} for out, _ in answers)
    for view in MARTS:
        for number in (1, 2):
            partition = lake.features("fraud", view, day(number))
            assert require(partition, "the test").epoch == 1
            assert len(list(partition.glob("v-*"))) == 1
    assert online(settings, "c", 3) == ([2, 200], True)
    assert not list((settings.home / "dbt").iterdir())


def test_a_broken_data_test_publishes_nothing(settings: Settings, lake: Lake) -> None:
    twice = [payment(day(1), "same", "c", "t", 100), payment(day(1), "same", "c", "t", 200)]
    deliver(lake, day(1), twice)
    with pytest.raises(DataRejected, match="unique_key_stg_fraud__transactions") as raised:
        make(settings, 1)
    assert "nothing was published" in str(raised.value)
    assert digests(lake) == {}


def test_the_large_amount_is_the_same_number_in_the_rule_and_in_dbt() -> None:
    spine = (ROOT / "dbt" / "models" / "marts" / "fraud" / "fraud_spine.sql").read_text()
    assert f"set large_cents = {LARGE_CENTS} " in spine


def test_the_docs_open_from_disk(settings: Settings, lake: Lake) -> None:
    deliver(lake, day(1), [payment(day(1), "e1", "c", "t", 100)])
    make(settings, 1)
    page = (lake.dbt_docs("fraud") / "index.html").read_text()
    assert "What a customer spent, as of the end of a batch." in page
    assert '"send_anonymous_usage_stats": false' in page
