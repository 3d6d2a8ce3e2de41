"""Real payments: windows against pandas, the online store against the offline one, and the training frame."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from jobs.batch import Batches
from jobs.errors import DataRejected, MissingBatchError, UsageError
from jobs.features import vectors
from jobs.features.online import OnlineStore
from jobs.lake import Lake
from jobs.projects import hook
from jobs.projects.fraud.spec import CUSTOMER_PROFILE, FRAUD, INPUTS
from jobs.settings import Settings
from jobs.stages import features, snapshot
from jobs.storage import require
from tests.features.clean import deliver, handbook, offline

FIRST = date(2018, 4, 1)
LAST = date(2018, 5, 15)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, handbook_raw: Path) -> Iterator[Settings]:
    """45 days of the handbook with their features; every third customer, to be quick."""
    home = tmp_path_factory.mktemp("handbook")
    settings = Settings(
        _env_file=None, home=home, lake_uri=str(home / "lake"), online_store_url=f"sqlite:///{home / 'online'}"
    )
    lake = Lake(settings.lake_uri)
    for day in Batches(FIRST, LAST):
        deliver(lake, day, sample(handbook_raw, day))
    result = features.run(FRAUD, settings, batches=Batches(FIRST, LAST))
    assert result.exit_code == 0
    assert result.facts["rows"]["spine"] > 100_000
    return settings


def sample(folder: Path, day: date):
    table = handbook(folder / f"{day}.parquet")
    return table.filter(np.array([int(customer) % 3 == 0 for customer in table["customer_id"].to_pylist()]))


@pytest.fixture(scope="module")
def payments(handbook_raw: Path) -> pd.DataFrame:
    """The same payments, read by pandas alone."""
    paths = [handbook_raw / f"{day}.parquet" for day in Batches(FIRST, LAST)]
    frame = pd.concat([pd.read_parquet(path) for path in paths])
    frame = frame[frame.CUSTOMER_ID % 3 == 0]
    frame["day"] = frame.TX_DATETIME.dt.date
    frame["cents"] = (frame.TX_AMOUNT * 100).round().astype("int64")
    return frame


@pytest.mark.parametrize("batch", [FIRST, date(2018, 4, 12), LAST], ids=str)
def test_windows_agree_with_pandas(made: Settings, payments: pd.DataFrame, batch: date) -> None:
    held = payments[(payments.day > batch - timedelta(days=30)) & (payments.day <= batch)]
    expected = held.groupby(held.CUSTOMER_ID.astype(str)).cents.agg(["count", "sum"]).astype("int64").sort_index()
    expected.columns = list(CUSTOMER_PROFILE.features)
    assert len(expected) > 500
    got = offline(Lake(made.lake_uri), "customer_profile", batch).to_pandas().set_index("customer_id")
    got.index.name = expected.index.name = "key"
    pd.testing.assert_frame_equal(got[list(expected.columns)], expected)


def test_the_spine_has_every_payment_and_its_delivered_label(made: Settings, payments: pd.DataFrame) -> None:
    spine = offline(Lake(made.lake_uri), "spine", LAST).to_pandas().set_index("event_id")
    day = payments[payments.day == LAST].set_index(payments[payments.day == LAST].TRANSACTION_ID.astype(str))
    assert sorted(spine.index) == sorted(day.index)
    assert (spine.label == (day.TX_FRAUD == 1).reindex(spine.index)).all()
    assert (spine.amount_cents == day.cents.reindex(spine.index)).all()
    assert (spine.label_time - spine.event_time == pd.Timedelta(days=7)).all()


def test_the_online_store_gives_the_vectors_of_the_offline_join(made: Settings, handbook_raw: Path) -> None:
    """Payments of the day after the last batch, a hundred to a request, in the order they happen."""
    events = sample(handbook_raw, LAST + timedelta(days=1)).drop_columns(["is_fraud"])
    events = events.rename_columns(["event_id", *events.column_names[1:]])
    joined, found = vectors.offline(FRAUD, Lake(made.lake_uri), events)
    assert found["customer"].all()  # by the payment itself
    assert 0 < found["terminal"].mean() < 1  # some terminals had no payment in their windows
    assert 0 < found["customer_profile"].mean() <= 1

    store = OnlineStore.open(made.online_store_url, FRAUD)
    ids, served = events.column("event_id").to_pylist(), []
    for start in range(0, len(events), 100):
        payload = vectors.payload(FRAUD, events.slice(start, 100))
        looked_up = store.look_up(payload, ids[start : start + 100], payload["event_time"])
        stored = vectors.online(FRAUD, looked_up.values, looked_up.found)
        served.append(hook(FRAUD, "features").request(payload, stored))
        for name, seen in looked_up.found.items():
            assert (seen == found[name][start : start + 100]).all()
    store.close()
    assert np.concatenate(served).tobytes() == joined.tobytes()


def test_a_snapshot_is_a_training_frame_that_only_knows_the_past(made: Settings, payments: pd.DataFrame) -> None:
    lake = Lake(made.lake_uri)
    facts = snapshot.run(FRAUD, made, run="one", as_of=None, negative_control=False).facts
    assert facts["as_of"] == str(LAST)
    assert facts["batches"] == {"train": ["2018-04-18", "2018-04-24"], "test": ["2018-05-02", "2018-05-08"]}
    published = require(lake.run("fraud", "one") / "snapshot", "the test")
    frame = pq.read_table(published.folder / "frame.parquet").to_pandas()
    assert json.loads((published.folder / "snapshot.json").read_text())["rows"] == facts["rows"]
    train = frame[(frame.event_time >= "2018-04-18T00:00Z") & (frame.event_time < "2018-04-25T00:00Z")]
    assert (len(train), train.label.sum()) == (facts["rows"]["train"], facts["positives"]["train"])
    assert list(frame.columns)[-len(INPUTS) :] == list(INPUTS)
    assert (frame[list(INPUTS)].dtypes == "float64").all()
    assert frame.event_id.is_unique
    assert frame.event_time.max() < pd.Timestamp("2018-05-09", tz="UTC")

    row = frame[frame.customer_id == frame.customer_id.iloc[-1]].iloc[-1]
    now = row.event_time.tz_localize(None)
    week = within(payments[int(row.customer_id) == payments.CUSTOMER_ID], now, 7)
    assert row.customer_count_7d == len(week) > 1
    assert row.customer_mean_amount_7d == pytest.approx(week.TX_AMOUNT.mean())
    for _, one in frame[frame.terminal_risk_30d > 0].tail(20).iterrows():
        known = one.event_time.tz_localize(None) - timedelta(days=7)
        month = within(payments[int(one.terminal_id) == payments.TERMINAL_ID], known, 30)
        assert one.terminal_risk_30d == pytest.approx(month.TX_FRAUD.mean())


def within(payments: pd.DataFrame, end: pd.Timestamp, days: int) -> pd.DataFrame:
    """Those in the days up to and including a moment."""
    return payments[(end - timedelta(days=days) < payments.TX_DATETIME) & (end >= payments.TX_DATETIME)]


def test_the_days_that_windows_reach_are_inputs_of_a_snapshot(made: Settings) -> None:
    """So that a training on labels that were corrected since is told apart: terminals look 37 days back."""
    lake = Lake(made.lake_uri)
    snapshot.run(FRAUD, made, run="reach", as_of=str(LAST), negative_control=False)
    inputs = require(lake.run("fraud", "reach") / "snapshot", "the test").manifest.inputs
    days = {name.removeprefix("spine/") for name in inputs if name.startswith("spine/")}
    assert min(days) == str(FIRST)
    assert max(days) == "2018-05-08"
    assert len(days) == (date(2018, 5, 8) - FIRST).days + 1


def test_a_snapshot_is_made_once_and_the_same_for_the_same_inputs(made: Settings) -> None:
    lake = Lake(made.lake_uri)
    runs = {}
    for name, control in (("a", False), ("b", False), ("c", True), ("d", True)):
        first = snapshot.run(FRAUD, made, run=name, as_of=str(LAST), negative_control=control)
        assert snapshot.run(FRAUD, made, run=name, as_of=None, negative_control=control).facts == first.facts
        runs[name] = require(lake.run("fraud", name) / "snapshot", "the test")
    frames = {name: published.manifest.files["frame.parquet"] for name, published in runs.items()}
    assert frames["a"] == frames["b"] != frames["c"] == frames["d"]
    assert runs["a"].manifest.inputs == runs["b"].manifest.inputs != runs["c"].manifest.inputs
    with pytest.raises(UsageError, match="'a' already has a snapshot as of 2018-05-15"):
        snapshot.run(FRAUD, made, run="a", as_of="2018-05-14", negative_control=False)
    with pytest.raises(UsageError, match="shuffled"):
        snapshot.run(FRAUD, made, run="c", as_of=None, negative_control=False)

    plain, shuffled = (pq.read_table(runs[name].folder / "frame.parquet").to_pandas() for name in ("a", "c"))
    learned = plain.event_time < pd.Timestamp("2018-05-02", tz="UTC")  # when the final test begins
    assert (plain.label[~learned] == shuffled.label[~learned]).all()
    assert plain.label[learned].sum() == shuffled.label[learned].sum()
    assert (plain.label[learned] & shuffled.label[learned]).sum() < plain.label[learned].sum() / 2
    pd.testing.assert_frame_equal(plain.drop(columns="label"), shuffled.drop(columns="label"))


def test_a_snapshot_needs_features_and_enough_days(made: Settings) -> None:
    with pytest.raises(MissingBatchError, match="tidemill features --project fraud --batch 2018-05-16"):
        snapshot.run(FRAUD, made, run="later", as_of="2018-05-16", negative_control=False)
    with pytest.raises(DataRejected, match="too few labelled days as of 2018-04-20"):
        snapshot.run(FRAUD, made, run="early", as_of="2018-04-20", negative_control=False)


def test_without_features_there_is_no_newest_batch(settings: Settings) -> None:
    with pytest.raises(MissingBatchError, match="tidemill features --project fraud"):
        snapshot.run(FRAUD, settings, run="none", as_of=None, negative_control=False)
