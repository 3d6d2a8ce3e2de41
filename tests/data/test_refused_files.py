"""Files that are refused as a whole, and why: damaged, not what they are named, or of another schema."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from jobs.lake import Lake
from jobs.settings import Settings
from jobs.storage import current
from tests.data.deliveries import (
    DAY,
    HEADER,
    accepted,
    csv,
    jsonl,
    parquet,
    payment,
    quarantined,
    take_in,
)  # fmt: skip

GOOD = [payment(number) for number in range(5)]


@pytest.mark.fault("F20")
@pytest.mark.parametrize("cut", [0.0, 0.5, 0.9, -8])
def test_a_truncated_parquet_file_is_quarantined_and_the_others_go_on(
    settings: Settings, tmp_path: Path, cut: float
) -> None:
    whole = parquet(tmp_path / "p", [payment(number) for number in range(50)])
    data = whole[int(cut):] if cut < 0 else whole[: int(len(whole) * cut)]  # fmt: skip
    result = take_in(settings, {"bad.parquet": data, "good.csv": csv(GOOD)})
    assert (result.exit_code, result.facts["accepted"], result.facts["uncounted_files"]) == (1, 5, 1)
    assert "bad.parquet" in result.line
    (row,) = quarantined(settings)
    assert (row["file"], row["line"]) == ("bad.parquet", 0)
    quarantine = current(Lake(settings.lake_uri).quarantine("fraud", "transactions", DAY))
    assert quarantine is not None
    assert Path(quarantine.paths(".bytes")[0]).read_bytes() == data


@pytest.mark.fault("F22")
@pytest.mark.parametrize(
    ("name", "data", "why"),
    [("day.parquet", csv(GOOD), "not those of Parquet"), ("day.csv", b"PAR1" + bytes(20), "those of Parquet"),
     ("day.csv", b"\x1f\x8b" + bytes(20), "gzip"), ("day.xlsx", b"PK", "does not end in one of .csv"),
     ("day.csv", csv(GOOD).replace(b",", b";"), "delimiter is ';'"),
     ("day.csv", (HEADER + ",amount_cents\n").encode() + b"x\n", "twice")],
)  # fmt: skip
def test_a_file_that_is_not_what_its_name_says_is_quarantined(
    settings: Settings, name: str, data: bytes, why: str
) -> None:
    result = take_in(settings, {name: data})
    assert (result.exit_code, result.facts["accepted"]) == (1, 0)
    assert why in result.line
    assert not accepted(settings)


@pytest.mark.fault("F30")
def test_a_dropped_column_is_told_by_name(settings: Settings) -> None:
    data = "\n".join(line.rpartition(",")[0] for line in csv(GOOD).decode().splitlines())
    result = take_in(settings, {"day.csv": data.encode()})
    assert result.exit_code == 1
    assert "day.csv: column 'amount_cents' is missing: expected integer" in result.line
    assert result.facts["quarantined"] == 5


@pytest.mark.fault("F31")
def test_an_added_column_is_ignored_and_said(settings: Settings) -> None:
    result = take_in(settings, {"day.jsonl": jsonl([row | {"TX_FRAUD_SCENARIO": 3} for row in GOOD])})
    assert (result.exit_code, result.facts["accepted"]) == (0, 5)
    assert result.facts["extra_columns"] == {"TX_FRAUD_SCENARIO": 1}
    assert "TX_FRAUD_SCENARIO" in result.line
    assert "TX_FRAUD_SCENARIO" not in accepted(settings)[0]


@pytest.mark.fault("F32")
def test_a_renamed_column_gets_a_suggestion_and_a_reordered_one_changes_nothing(settings: Settings) -> None:
    result = take_in(settings, {"day.csv": csv(GOOD).replace(b"customer_id", b"customer_idx")})
    assert result.exit_code == 1
    assert "it has 'customer_idx': did you mean 'customer_id'?" in result.line
    turned = [dict(reversed(row.items())) for row in GOOD]
    take_in(settings, {"day.csv": csv(GOOD)}, date(2026, 1, 11))
    take_in(settings, {"day.jsonl": jsonl(turned)}, date(2026, 1, 12))
    one, other = (accepted(settings, date(2026, 1, day)) for day in (11, 12))
    assert [row["amount_cents"] for row in one] == [row["amount_cents"] for row in other]


@pytest.mark.fault("F33")
@pytest.mark.parametrize(
    ("column", "type_", "got"),
    [("amount_cents", pa.string(), "string"), ("amount_cents", pa.decimal128(24, 2), "decimal128(24, 2)"),
     ("amount_cents", pa.float64(), "double"), ("event_time", pa.date32(), "date32"), ("event_time", pa.int64(), "int64")],
)  # fmt: skip
def test_a_retyped_column_is_told_with_file_column_expected_and_got(
    settings: Settings, tmp_path: Path, column: str, type_: pa.DataType, got: str
) -> None:
    result = take_in(settings, {"day.parquet": parquet(tmp_path / "p", GOOD, **{column: type_})})
    assert result.exit_code == 1
    assert f"day.parquet: column {column!r} has type {got}" in result.line
    assert "expected" in result.line


@pytest.mark.fault("F33")
def test_a_column_no_row_of_which_parses_is_retyped_and_the_file_refused(settings: Settings) -> None:
    rows = [row | {"amount_cents": f"EUR {row['amount_cents']}"} for row in GOOD]
    result = take_in(settings, {"day.csv": csv(rows)})
    assert result.exit_code == 1
    assert "day.csv: column 'amount_cents' has type not an integer in every row, expected integer" in result.line


def test_a_corrected_file_under_the_same_name_settles_a_refused_one(settings: Settings) -> None:
    assert take_in(settings, {"day.csv": b"nonsense\n1\n"}).exit_code == 1
    assert take_in(settings, {"day.csv": csv(GOOD)}).exit_code == 0
