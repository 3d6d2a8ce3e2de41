"""TalkingData's public sample of 100,000 clicks through the sources of `ads`, one step further: a click is what is shown
there, an installed app what follows. Ids of 34,857 addresses, .227 % positives, labels hours late."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from jobs.batch import Batches
from jobs.features import vectors
from jobs.lake import Lake
from jobs.projects import find
from jobs.settings import Settings
from jobs.stages import features, ingest, land
from jobs.storage import publish, require
from tests.conftest import HANDBOOK

ADS = find("ads")
SAMPLE = HANDBOOK.parent / "talkingdata_sample"
DAYS = Batches(date(2017, 11, 6), date(2017, 11, 9))
HOUR = 3_600_000_000


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, pa.Table]:
    """The clicks as they are, with a number as their id, landed and ingested; and the same in one table."""
    if not SAMPLE.is_dir():
        pytest.skip(f"TalkingData's sample is not at {SAMPLE}; set TIDEMILL_DATA to its parent")
    home = tmp_path_factory.mktemp("talkingdata")
    settings = Settings(_env_file=None, home=home, lake_uri=str(home / "lake"), online_store_url=f"sqlite:///{home}/o")  # type: ignore[call-arg]
    parts = [pq.read_table(SAMPLE / f"ds={day}" / "clicks.parquet", partitioning=None) for day in DAYS]
    clicks = pa.concat_tables(parts)
    clicks = clicks.append_column("impression_id", pa.array([f"{row:06d}" for row in range(len(clicks))]))
    shown = clicks.drop_columns(["attributed_time", "is_attributed"])
    followed = clicks.filter(pc.equal(clicks["is_attributed"], 1)).select(["attributed_time", "impression_id"])
    followed = followed.append_column("click_id", followed["impression_id"])
    for source, table, time in (("impressions", shown, "click_time"), ("clicks", followed, "attributed_time")):
        for day in DAYS:
            mine = table.filter(pc.equal(table[time].cast(pa.date32()), pa.scalar(day)))
            file = home / f"{source}-{day}.parquet"
            pq.write_table(mine, file)
            land.run(ADS, settings, files=[file], source=source)
        facts = ingest.run(ADS, settings, batches=DAYS, source=source, force=False).facts
        assert facts["accepted"] == len(table), facts
    return settings, clicks


def raw(settings: Settings, source: str) -> pa.Table:
    folders = [require(Lake(settings.lake_uri).raw("ads", source, day), "the test") for day in DAYS]
    return pa.concat_tables([pq.read_table(path, partitioning=None) for one in folders for path in one.paths()])


@pytest.fixture(scope="module")
def spine(delivered: tuple[Settings, pa.Table]) -> pa.Table:
    """The labelled events as dbt makes them of the same days."""
    settings, _ = delivered
    lake = Lake(settings.lake_uri)
    for source in ADS.sources:
        columns = [column.name for column in source.columns]
        table = raw(settings, source.name).select(columns)
        for day in DAYS:
            mine = table.filter(pc.equal(table[source.event_time].cast(pa.date32()), pa.scalar(day)))
            published(lake.clean("ads", source.name, day), mine, day)
    for day in DAYS:
        digests = {name: require(lake.clean("ads", name, day), "the test").digest for name in ADS.tables}
        publish(lake.validation("ads", day), empty, inputs=digests, watermark=str(day), facts={"passed": True})
    features.run(ADS, settings, batches=DAYS)
    paths = [path for day in DAYS for path in require(lake.spine("ads", day), "the test").paths()]
    return pa.concat_tables([pq.read_table(path, partitioning=None) for path in paths])


def published(folder: Path, table: pa.Table, day: date) -> None:
    def write(to: Path) -> int:
        pq.write_table(table, to / "part-00000.parquet")
        return len(table)

    publish(folder, write, inputs={"day": str(day)}, watermark=str(day))


def empty(folder: Path) -> int:
    return (folder / "verdict.json").write_text("{}")


def test_talkingdata_lands_unchanged_through_aliases(delivered: tuple[Settings, pa.Table]) -> None:
    settings, clicks = delivered
    shown = raw(settings, "impressions")
    assert len(shown) == 100_000
    for ours, theirs in (("user_id", "ip"), ("ad_id", "app"), ("site_id", "channel"), ("device_id", "device")):
        assert pc.count_distinct(shown[ours]).as_py() == pc.count_distinct(clicks[theirs]).as_py()
    assert pc.count_distinct(shown["user_id"]).as_py() == 34_857


def test_talkingdata_labels_come_hours_late_and_within_the_attribution_window(spine: pa.Table) -> None:
    assert pc.sum(spine["label"]).as_py() == 227, "every one of the sample's positives, and no other"
    assert len(spine) == 100_000
    wait = pc.subtract(spine["label_time"], spine["event_time"])
    assert set(pc.unique(wait).to_pylist()) == {timedelta(days=ADS.label.delay_days)}


def test_talkingdata_target_statistics_are_of_clicks_known_two_days_before(
    delivered: tuple[Settings, pa.Table], spine: pa.Table
) -> None:
    """The windows of an ad against plain counting: what is known of an event never holds its own label."""
    settings, _ = delivered
    events = spine.filter(pc.equal(spine["event_time"].cast(pa.date32()), pa.scalar(DAYS.last))).slice(0, 4_000)
    views = vectors.view_files(ADS, Lake(settings.lake_uri), DAYS.first, DAYS.last)
    live = vectors.event_files(ADS, Lake(settings.lake_uri), DAYS.first, DAYS.last)
    joined = vectors.join(ADS, events, views, live)
    time, label = (np.asarray(spine[name].cast(pa.int64())) for name in ("event_time", "label"))
    ad = spine["ad_id"].to_numpy()
    seen = 0
    for row in range(0, len(events), 100):
        edge = (events["event_time"].cast(pa.int64())[row].as_py() - 48 * HOUR) // HOUR * HOUR
        known = (ad == events["ad_id"][row].as_py()) & (time <= edge)
        assert joined["ad__known_28d"][row].as_py() == known.sum()
        assert joined["ad__clicks_28d"][row].as_py() == label[known].sum()
        seen += int(label[known].sum())
    assert seen, "a test without a known positive would prove nothing"
    inputs = vectors.inputs(ADS, joined)
    assert inputs.shape == (len(events), len(ADS.models[0].inputs))
    assert np.isfinite(inputs).all()
