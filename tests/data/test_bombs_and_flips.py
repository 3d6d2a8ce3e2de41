"""Bytes that lie: files that unpack to more than a machine holds, and bits that changed after they were written."""

from __future__ import annotations

import gzip
import io
import resource
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.batch import Batches
from jobs.errors import TamperedError
from jobs.features.inputs import CleanDays
from jobs.ingest.readers import LARGEST
from jobs.lake import Lake
from jobs.settings import Settings
from jobs.stages import etl, ingest, validate
from jobs.storage import current, publish, require
from tests.data.deliveries import DAY, FRAUD, accepted, csv, deliver, parquet, payment, quarantined, take_in

GOOD = [payment(number) for number in range(5)]
DAYS = Batches(DAY, DAY)
_GROWN = 300 << 20
"""Bytes of memory that refusing a bomb may take; what it unpacks to is more than ten times as much."""


@pytest.fixture
def lake_uri(tmp_path: Path) -> str:
    """A folder: what was altered here is fetched once more from S3 (test_lake_on_s3.py)."""
    return str(tmp_path / "lake")


def packed(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def many_rows() -> bytes:
    return packed(pa.table({"transaction_id": pa.nulls(40_000_000)}))


def one_text_in_every_row() -> bytes:
    """Stored once, and named a million times: what the file states of its own size is a megabyte."""
    texts = pa.DictionaryArray.from_arrays(pa.array(bytearray(1_000_000), pa.int8()), pa.array(["x" * 1_000_000]))
    return packed(pa.table({"transaction_id": texts}).cast(pa.schema([("transaction_id", texts.type)])))


def one_text_in_every_row_as_plain_text() -> bytes:
    """The same, that says of itself that it is no dictionary."""
    schema = packed(pa.table({"transaction_id": ["x"]}))
    stated = pq.read_metadata(pa.BufferReader(schema)).metadata[b"ARROW:schema"].decode()
    out = io.BytesIO()
    table = pq.read_table(pa.BufferReader(one_text_in_every_row()), read_dictionary=["transaction_id"])
    with pq.ParquetWriter(out, table.schema, compression="zstd", store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"ARROW:schema": stated})
    return out.getvalue()


@pytest.mark.fault("F22")
@pytest.mark.parametrize("bomb", [many_rows, one_text_in_every_row, one_text_in_every_row_as_plain_text])
def test_a_file_that_unpacks_to_more_than_fits_is_refused_before_it_is_unpacked(settings: Settings, bomb) -> None:
    data = bomb()
    assert len(data) < 1 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = take_in(settings, {"day.parquet": data, "good.csv": csv(GOOD)})
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < _GROWN
    assert (result.exit_code, result.facts["accepted"]) == (1, 5)
    assert f"day.parquet: unpacks to more than {LARGEST >> 30} GiB" in result.line
    assert quarantined(settings)[0]["file"] == "day.parquet"
    assert take_in(settings, {"day.parquet": parquet(settings.home / "p", GOOD)}).exit_code == 0


@pytest.mark.fault("F22")
@pytest.mark.parametrize("name", ["day.csv", "day.jsonl", "day.parquet"])
def test_a_gzip_bomb_is_refused_packed_as_it_is(settings: Settings, name: str) -> None:
    data = gzip.compress(bytes(16 << 20))
    result = take_in(settings, {name: data})
    assert (result.exit_code, result.facts["uncounted_files"]) == (1, 1)
    assert "first bytes" in result.line
    quarantine = require(Lake(settings.lake_uri).quarantine("fraud", "transactions", DAY), "ingest")
    assert Path(quarantine.paths(".bytes")[0]).read_bytes() == data


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.fault("F21")
def test_a_delivery_of_which_one_bit_changed_is_quarantined_and_comes_again(settings: Settings) -> None:
    data = parquet(settings.home / "p", [payment(number) for number in range(500)])
    deliver(settings, {"day.parquet": data})
    (landed,) = Lake(settings.lake_uri).landing("fraud", "transactions", DAY).glob("*.parquet")
    landed.chmod(0o644)
    landed.write_bytes(flipped(data, len(data) // 3))
    result = ingest.run(FRAUD, settings, batches=DAYS, source="transactions")
    assert (result.exit_code, result.facts["accepted"]) == (1, 0)
    assert "changed after it was landed" in result.line
    assert not accepted(settings)
    landed.write_bytes(data)
    assert ingest.run(FRAUD, settings, batches=DAYS, source="transactions", force=True).facts["accepted"] == 500


@pytest.mark.fault("F21")
@pytest.mark.parametrize("zone", ["raw", "clean before validation", "clean after it"])
def test_a_published_file_of_which_one_bit_changed_is_computed_from_by_nobody(settings: Settings, zone: str) -> None:
    take_in(settings, {"day.csv": csv(GOOD)})
    lake = Lake(settings.lake_uri)
    raw = require(lake.raw("fraud", "transactions", DAY), "ingest")
    partition = raw.partition if zone == "raw" else lake.clean("fraud", "transactions", DAY)
    if zone != "raw":
        publish(
            partition, lambda folder: _copied(raw.paths()[0], folder), inputs={"raw": raw.digest}, watermark=str(DAY)
        )
    path = Path(require(partition, "etl").paths()[0])
    whole, judged = path.read_bytes(), {"transactions": require(partition, "etl").digest}
    path.write_bytes(flipped(whole, len(whole) // 3))
    assert current(partition) is not None, "the pointer and the manifest are as they were: only the digest tells"
    with pytest.raises(TamperedError, match=r"part-00000\.parquet is missing or altered; publish the batch again"):
        _read(settings, zone, judged)
    path.write_bytes(whole)
    if zone == "clean after it":
        assert _read(settings, zone, judged) == [str(path)]


def _copied(path: str, folder: Path) -> int:
    (folder / "part-00000.parquet").write_bytes(Path(path).read_bytes())
    return len(GOOD)


def _read(settings: Settings, zone: str, judged: dict[str, str]) -> list[str] | None:
    """Whatever reads that zone."""
    if zone == "raw":
        etl.run(FRAUD, settings, batches=DAYS)
    elif zone == "clean before validation":
        validate.run(FRAUD, settings, batches=DAYS)
    else:
        verdict = Lake(settings.lake_uri).validation("fraud", DAY)
        publish(verdict, lambda folder: 0, inputs=judged, watermark=str(DAY), facts={"passed": True})
        return CleanDays(project=FRAUD, lake=Lake(settings.lake_uri)).files([DAY])["transactions"]
    return None
