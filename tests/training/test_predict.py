from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.errors import DataRejected, MissingBatchError, UsageError
from jobs.stages import predict

HEADER = "transaction_id,event_time,customer_id,terminal_id,amount_cents\n"
GOOD = "t1,2026-02-22T10:00:00Z,c1,m1,1250\nt2,2026-02-22T03:00:00Z,c2,m2,45000\n"


def test_a_file_of_raw_payments_is_scored_and_a_bad_row_is_named(finished, tmp_path):
    file = tmp_path / "payments.csv"
    file.write_text(HEADER + GOOD + "t3,2026-02-22T10:00:00Z,c1,m1,a lot\n")
    release = finished.challenger.release
    for ending in ("parquet", "csv", "jsonl"):
        out = tmp_path / f"scores.{ending}"
        result = predict.run(finished.project, finished.settings, file=file, release=release, out=out)
        assert (result.facts["rows"], result.facts["refused"]) == (2, 1)
        assert result.facts["refusals"][0]["column"] == "amount_cents"
        assert result.facts["unknown"] == {"customer_profile": 2, "customer": 0, "terminal": 2}
    rows = pq.read_table(tmp_path / "scores.parquet").to_pylist()
    assert {row["event_id"]: row["decision"] for row in rows}["t2"] == "decline"
    assert all(0 <= row["probability"] <= 1 and row["release"] == release for row in rows)
    lines = (tmp_path / "scores.jsonl").read_text().splitlines()
    assert [json.loads(line)["event_id"] for line in lines] == [row["event_id"] for row in rows]


def test_what_cannot_be_scored_says_why(finished, tmp_path):
    project, settings, release = finished.project, finished.settings, finished.challenger.release
    file, out = tmp_path / "payments.csv", tmp_path / "scores.parquet"
    file.write_text("transaction_id,event_time\nt1,2026-02-22T10:00:00Z\n")
    with pytest.raises(DataRejected, match="customer_id"):
        predict.run(project, settings, file=file, release=release, out=out)
    file.write_text(HEADER + GOOD)
    with pytest.raises(MissingBatchError, match=f"no champion yet.*{release}"):
        predict.run(project, settings, file=file, out=out)
    with pytest.raises(UsageError, match="knows no release 'r-none'"):
        predict.run(project, settings, file=file, release="r-none", out=out)
    with pytest.raises(UsageError, match="either --batch or --file"):
        predict.run(project, settings, out=out)
    with pytest.raises(UsageError, match="must end in one of"):
        predict.run(project, settings, file=file, out=Path("scores.xlsx"))
    assert not out.exists()
