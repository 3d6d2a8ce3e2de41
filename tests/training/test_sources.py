"""A frame made a few days at a time is the frame made at once, and a snapshot is what its pieces are."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from jobs.batch import Batches, day_start
from jobs.features.offline import available_at
from jobs.lake import Lake
from jobs.projects.fraud.spec import CUSTOMER_PROFILE, FRAUD
from jobs.settings import Settings
from jobs.stages import snapshot
from jobs.storage import publish, require
from jobs.training import sources
from jobs.training.sources import Sources
from tests.training.published import publish_days
from tests.training.synthetic import AS_OF, PLAN

ROWS = 60


@pytest.fixture
def published(lake: Lake) -> Lake:
    """Every day's events, and values of a batch view that tell the batches apart."""
    every = Batches(PLAN.days.first, AS_OF)
    publish_days(lake, every, ROWS)
    for batch in every:
        visible = pa.array([available_at(CUSTOMER_PROFILE, batch)] * 900, pa.timestamp("us", "UTC"))
        columns = {
            "customer_id": [f"c{number}" for number in range(900)],
            "batch": [batch] * 900,
            "available_at": visible,
        }
        columns |= {name: pa.array([batch.toordinal()] * 900, pa.int64()) for name in CUSTOMER_PROFILE.features}
        table = pa.table(columns)

        def write(folder, table=table) -> int:
            pq.write_table(table, folder / "part-00000.parquet")
            return len(table)

        publish(lake.features("fraud", "customer_profile", batch), write, inputs={}, watermark=str(batch))
    return lake


def test_pieces_of_a_few_days_make_the_same_frame(published: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    made, model = Sources.of(FRAUD, published, PLAN.days), FRAUD.models[0]
    whole = made.frame(model, AS_OF)
    monkeypatch.setattr(sources, "SLICE_ROWS", 10 * ROWS + 1)
    pieces = list(made.frames(model, AS_OF))
    assert len(pieces) == -(-len(PLAN.days) // 10)
    assert pa.concat_tables(pieces).combine_chunks().equals(whole)
    assert len(whole) == ROWS * len(PLAN.days)
    assert whole.equals(whole.sort_by([("event_time", "ascending"), ("event_id", "ascending")]))


def test_a_snapshot_made_in_pieces_is_the_same_and_so_is_its_control(
    published: Lake, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = {}
    for name, rows, control in (
        ("whole", 10**6, False), ("pieces", 10 * ROWS, False), ("control", 10**6, True), ("other", 10 * ROWS, True),
    ):  # fmt: skip
        monkeypatch.setattr(sources, "SLICE_ROWS", rows)
        facts = snapshot.run(FRAUD, settings, run=name, as_of=None, negative_control=control).facts
        assert facts["as_of"] == str(AS_OF)
        found = require(published.run("fraud", name) / "snapshot", "the test")
        frames[name] = pq.read_table(found.folder / "frame.parquet")
        assert found.manifest.rows == len(frames[name])
        assert sorted(found.manifest.files) == ["frame.parquet", "snapshot.json"]
    assert frames["whole"].equals(frames["pieces"])
    assert frames["control"].equals(frames["other"])
    assert frames["control"].drop_columns(["label"]).equals(frames["whole"].drop_columns(["label"]))
    begins = pa.scalar(day_start(PLAN.final.test.first), pa.timestamp("us", "UTC"))
    tested = np.asarray(pc.greater_equal(frames["whole"]["event_time"], begins))
    honest, shuffled = (np.asarray(frames[name]["label"]) for name in ("whole", "control"))
    assert (honest[tested] == shuffled[tested]).all()
    assert honest[~tested].sum() == shuffled[~tested].sum()
    assert (honest[~tested] != shuffled[~tested]).any()
    assert not list(published.scratch("fraud", "any").parent.glob("*"))
