"""The prediction log as a source: records of before it had `provenance` are read beside those of today."""

from __future__ import annotations

import hashlib
import json

import pyarrow.parquet as pq

from jobs.batch import Batches
from jobs.lake import Lake
from jobs.settings import Settings
from jobs.stages import ingest
from jobs.storage import current
from tests.serving.history import AS_OF, FRAUD

RECORD = {
    "event_time": AS_OF.isoformat(), "served_at": AS_OF.isoformat(), "release": "r-1", "slot": "blue", "score": 0.5,
    "decision": "approve", "degraded": False, "entities": "{}", "payload": "{}", "vector": "[1.0]",
}  # fmt: skip


def land(lake: Lake, *records: dict[str, object]) -> None:
    text = "".join(json.dumps({**RECORD, **record}) + "\n" for record in records).encode()
    folder = lake.landing(FRAUD.name, "predictions", AS_OF.date())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{hashlib.sha256(text).hexdigest()[:16]}-blue.jsonl").write_bytes(text)


def test_old_and_new_records_are_ingested_together(settings: Settings, lake: Lake) -> None:
    land(lake, {"request_id": "old", "event_id": "e1"})
    land(
        lake,
        {"request_id": "new", "event_id": "e2", "provenance": '{"customer": {"events": 1}}'},
        {"request_id": "degraded", "event_id": "e3", "provenance": None},
    )
    done = ingest.run(FRAUD, settings, batches=Batches(AS_OF.date(), AS_OF.date()), source="predictions")
    assert (done.facts["accepted"], done.facts["quarantined"]) == (3, 0)
    published = current(lake.raw(FRAUD.name, "predictions", AS_OF.date()))
    assert published
    rows = pq.read_table(published.paths()[0]).to_pylist()
    assert {row["request_id"]: row["provenance"] for row in rows} == {
        "old": None,
        "new": '{"customer": {"events": 1}}',
        "degraded": None,
    }
