"""Ingest: every delivered row is accepted, quarantined with its reason, or a duplicate."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from jobs.batch import Batches
from jobs.errors import TamperedError, UsageError
from jobs.lake import Lake
from jobs.settings import Settings
from jobs.stages import ingest, land
from jobs.storage import current, verify
from tests.buckets import remove
from tests.data.deliveries import (
    DAY,
    FRAUD,
    HEADER,
    accepted,
    csv,
    deliver,
    jsonl,
    parquet,
    payment,
    quarantined,
    take_in,
)  # fmt: skip

GOOD = [payment(number) for number in range(5)]


def line_of(row: dict) -> str:
    return csv([row]).decode().splitlines()[1]


def test_the_three_formats_say_the_same(settings: Settings, tmp_path: Path) -> None:
    files = {"a.csv": csv(GOOD), "b.jsonl": jsonl(GOOD), "c.parquet": parquet(tmp_path / "c", GOOD)}
    for day, (name, data) in zip((10, 11, 12), files.items(), strict=True):
        take_in(settings, {name: data}, date(2026, 1, day))
    days = [accepted(settings, date(2026, 1, day)) for day in (10, 11, 12)]
    for rows in days:
        for row in rows:
            del row["_file"], row["_line"]
    assert days[0] == days[1] == days[2]
    assert days[0][0] == {
        "transaction_id": "t0", "event_time": datetime(2026, 1, 10, 10, tzinfo=UTC), "customer_id": "c0",
        "terminal_id": "m0", "amount_cents": 1000, "is_fraud": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "column", "reason"),
    [
        ({"amount_cents": ""}, "amount_cents", "missing value"),
        ({"amount_cents": "12.50"}, "amount_cents", "not an integer"),
        ({"amount_cents": "-1"}, "amount_cents", "out of range"),
        ({"amount_cents": "99999999999"}, "amount_cents", "out of range"),
        ({"amount_cents": "9" * 400}, "amount_cents", "not an integer"),
        ({"transaction_id": ""}, "transaction_id", "missing value"),
        ({"customer_id": None}, "customer_id", "missing value"),
        pytest.param({"amount_cents": "NaN"}, "amount_cents", "not an integer", marks=pytest.mark.fault("F34")),
        pytest.param({"amount_cents": "inf"}, "amount_cents", "not an integer", marks=pytest.mark.fault("F34")),
        *(
            pytest.param({"event_time": time}, "event_time", reason, marks=pytest.mark.fault("F28"))
            for time, reason in (
                ("1900-01-10T10:00:00Z", "absurd date"), ("9999-12-31T23:59:59Z", "absurd date"),
                ("1970-01-01T00:00:00Z", "absurd date"), ("1768039200", "not a timestamp"),
                ("1768039200000", "not a timestamp"), ("2026-01-11T00:00:00Z", "future event"),
                ("2026-01-06T23:59:59Z", "too late"), ("2026-02-30T10:00:00Z", "not a timestamp"),
                ("10/01/2026 10:00", "not a timestamp"), ("2026-01-10", "not a timestamp"),
            )
        ),
    ],
)  # fmt: skip
def test_a_bad_value_costs_its_own_row_only(settings: Settings, changes: dict, column: str, reason: str) -> None:
    bad = payment(9, **changes)
    result = take_in(settings, {"day.csv": csv([*GOOD[:2], bad, *GOOD[2:]])})
    assert (result.exit_code, result.facts["accepted"], result.facts["quarantined"]) == (0, 5, 1)
    (row,) = quarantined(settings)
    assert (row["file"], row["line"], row["column"]) == ("day.csv", 4, column)
    assert row["reason"].startswith(reason)
    assert row["bytes"].decode() == line_of(bad)


@pytest.mark.fault("F29")
@pytest.mark.parametrize(
    ("time", "utc"),
    [("2026-01-10T01:00:00+01:00", "2026-01-10T00:00:00"), ("2026-01-10 09:30", "2026-01-10T09:30:00"),
     ("2026-01-10T05:00:00.123456-0530", "2026-01-10T10:30:00.123456")],
)  # fmt: skip
def test_offsets_and_local_times_become_utc(settings: Settings, time: str, utc: str) -> None:
    take_in(settings, {"day.csv": csv([payment(1, event_time=time)])})
    assert accepted(settings)[0]["event_time"] == datetime.fromisoformat(utc).replace(tzinfo=UTC)


@pytest.mark.fault("F23")
@pytest.mark.parametrize(
    ("line", "reason"),
    [(b"t9,2026-01-10T10:00:00Z,c1,m1", "ragged row: 4 fields, expected 5"),
     (b"t9,2026-01-10T10:00:00Z,c1,m1,100,,", "ragged row"), (b't9,2026-01-10T10:00:00Z,"c1,m1,100', "stray quote"),
     (b't9,2026-01-10T10:00:00Z,"c"1,m1,100', "stray quote"), (b"t9,2026-01-10T10:00:00Z,c\x001,m1,100", "NUL byte"),
     (b"t9,2026-01-10T10:00:00Z,c\xff1,m1,100", "not UTF-8"), (b"t9;2026-01-10T10:00:00Z;c1;m1;100", "ragged row")],
)  # fmt: skip
def test_a_malformed_csv_line_is_quarantined_with_its_number_and_bytes(
    settings: Settings, line: bytes, reason: str
) -> None:
    data = b"\xef\xbb\xbf" + csv(GOOD).replace(b"\n", b"\r\n") + line + b"\r\n" + line_of(payment(7)).encode()
    result = take_in(settings, {"day.csv": data})
    assert (result.exit_code, result.facts["accepted"]) == (0, 6)
    (row,) = quarantined(settings)
    assert (row["line"], row["bytes"]) == (7, line)
    assert row["reason"].startswith(reason)


@pytest.mark.fault("F23")
@examples(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(junk=st.lists(st.binary(min_size=1, max_size=40).filter(lambda b: b.strip() and b"\n" not in b), max_size=6))
def test_no_line_of_any_bytes_is_lost(settings: Settings, tmp_path_factory: pytest.TempPathFactory, junk: list) -> None:
    home = tmp_path_factory.mktemp("home")
    own = settings.model_copy(update={"home": home, "lake_uri": str(home / "lake")})
    result = take_in(own, {"day.csv": csv(GOOD) + b"\n".join(junk), "day.jsonl": b"\n".join(junk)})
    assert result.facts["accepted"] == 5
    kept = sorted(row["bytes"] for row in quarantined(own) if row["file"] == "day.csv")
    assert kept == sorted(line.removesuffix(b"\r") for line in junk)


@pytest.mark.fault("F24")
@pytest.mark.parametrize(
    ("line", "reason"),
    [('{"transaction_id": "t9", "event_', "not JSON"), ("[" * 100_000, "not JSON: nested too deep"),
     ('{"a": ' * 100_000, "not JSON: nested too deep"), ('{"transaction_id": NaN}', "not JSON: NaN"),
     ('{"transaction_id": "a", "transaction_id": "b"}', "not JSON: duplicate key"), ("[1]", "not a JSON object"),
     (json.dumps(payment(9)).replace("1009", "1e999"), "wrong type: number, expected integer"),
     (json.dumps(payment(9)).replace("1009", '"1009"'), "wrong type: string, expected integer"),
     (json.dumps(payment(9)).replace("1009", "true"), "wrong type: boolean, expected integer"),
     (json.dumps(payment(9)).replace('"c2"', "2"), "wrong type: number, expected string"),
     (json.dumps(payment(9)).replace('"c2"', '"\\ud800"'), "lone surrogate"),
     (json.dumps(payment(9)).replace("1009", "9" * 5000), "not")],
)  # fmt: skip
def test_a_malformed_json_line_is_quarantined(settings: Settings, line: str, reason: str) -> None:
    result = take_in(settings, {"day.jsonl": jsonl(GOOD) + line.encode() + b"\n" + jsonl([payment(7)])})
    assert (result.exit_code, result.facts["accepted"]) == (0, 6)
    (row,) = quarantined(settings)
    assert (row["line"], row["bytes"]) == (6, line.encode())
    assert row["reason"].startswith(reason)


@pytest.mark.fault("F34")
@pytest.mark.parametrize("value", ["1e999", "-1e400", "1e16", "12.345", "1e-3"])
def test_an_amount_is_exact_cents_or_refused(settings: Settings, value: str) -> None:
    rows = json.dumps(payment(1)).replace('"amount_cents": 1001', f'"amount": {value}')
    good = jsonl([{"amount": 12.34, **{k: v for k, v in payment(2).items() if k != "amount_cents"}}])
    take_in(settings, {"day.jsonl": rows.encode() + b"\n" + good})
    assert [row["amount_cents"] for row in accepted(settings)] == [1234]
    (row,) = quarantined(settings)
    assert (row["column"], row["bytes"]) == ("amount", rows.encode())


@pytest.mark.fault("F34")
def test_doubles_in_parquet_are_exact_cents_or_refused(settings: Settings, tmp_path: Path) -> None:
    amounts = [12.34, 29.33 * 5, 12.345, float("nan"), float("inf"), 1e308, -0.0, 0.1 + 0.2]
    rows = [payment(number) for number in range(len(amounts))]
    for row, amount in zip(rows, amounts, strict=True):
        del row["amount_cents"]
        row["TX_AMOUNT"] = amount
    take_in(settings, {"day.parquet": parquet(tmp_path / "p", rows)})
    assert [row["amount_cents"] for row in accepted(settings)] == [1234, 14665, 0, 30]
    assert [row["reason"] for row in quarantined(settings)] == [
        "not a whole number of 1/100", "not a finite number", "not a finite number", "out of range"
    ]  # fmt: skip


@pytest.mark.fault("F25")
def test_a_copy_is_counted_but_not_taken_again(settings: Settings) -> None:
    data = csv(GOOD)
    first = take_in(settings, {"day.csv": data})
    landed = deliver(settings, {"day.csv": data})
    assert (landed.facts["landed"], landed.facts["unchanged"]) == (0, 1)
    result = take_in(settings, {"renamed.csv": data})
    assert (first.facts["accepted"], result.facts["accepted"], result.facts["duplicates"]) == (5, 5, 5)
    elsewhere = take_in(settings, {"renamed.csv": data}, date(2026, 1, 11))
    assert (elsewhere.facts["accepted"], elsewhere.facts["duplicates"], elsewhere.exit_code) == (0, 5, 99)
    assert len(list(Lake(settings.lake_uri).landing("fraud", "transactions", DAY).glob("*.csv"))) == 1


@pytest.mark.fault("F26")
def test_equal_events_are_kept_once_and_of_different_ones_the_latest(settings: Settings) -> None:
    later = payment(1, event_time="2026-01-10T11:00:00Z", amount_cents=7)
    same_time = payment(2, amount_cents=8)
    result = take_in(settings, {"day.csv": csv([later, *GOOD, GOOD[0], same_time])})
    facts = result.facts
    assert (facts["accepted"], facts["duplicates"], facts["conflicts"]) == (5, 3, 2)
    kept = {row["transaction_id"]: row["amount_cents"] for row in accepted(settings)}
    assert kept == {"t0": 1000, "t1": 7, "t2": 8, "t3": 1003, "t4": 1004}


@pytest.mark.fault("F37")
@pytest.mark.parametrize("data", [b"", b"\n", (HEADER + "\n").encode()])
def test_an_empty_day_publishes_nothing_and_says_so(settings: Settings, data: bytes) -> None:
    result = take_in(settings, {"day.csv": data})
    assert (result.exit_code, result.facts["delivered"], result.facts["accepted"]) == (99, 0, 0)
    assert current(Lake(settings.lake_uri).raw("fraud", "transactions", DAY)) is None


@pytest.mark.fault("F37")
def test_a_day_without_a_delivery_is_nothing_to_do(settings: Settings) -> None:
    result = ingest.run(FRAUD, settings, batches=Batches(DAY, DAY))
    assert result.exit_code == 99
    assert "tidemill land" in result.line


def test_a_file_that_was_removed_from_the_landing_zone_is_told(settings: Settings) -> None:
    deliver(settings, {"day.csv": csv(GOOD)})
    deliver(settings, {"copy.csv": csv(GOOD)}, date(2026, 1, 11))
    (path,) = Lake(settings.lake_uri).landing("fraud", "transactions", DAY).glob("*.csv")
    remove(path)
    with pytest.raises(TamperedError, match="land the file again"):
        ingest.run(FRAUD, settings, batches=Batches.parse("2026-01-11"))


@pytest.mark.fault("F21")
def test_bytes_that_changed_in_the_landing_zone_are_not_taken(settings: Settings) -> None:
    deliver(settings, {"day.csv": csv(GOOD)})
    (path,) = Lake(settings.lake_uri).landing("fraud", "transactions", DAY).glob("*.csv")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"1000", b"9000"))
    result = ingest.run(FRAUD, settings, batches=Batches(DAY, DAY))
    assert (result.exit_code, result.facts["accepted"]) == (1, 0)
    assert "changed after it was landed" in result.line


@examples(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.lists(st.text(min_size=1, max_size=20).filter(lambda t: t.isprintable()), min_size=1, unique=True))
def test_ids_are_stored_byte_exact(settings: Settings, tmp_path_factory: pytest.TempPathFactory, ids: list) -> None:
    home = tmp_path_factory.mktemp("home")
    own = settings.model_copy(update={"home": home, "lake_uri": str(home / "lake")})
    take_in(own, {"day.jsonl": jsonl([payment(1, transaction_id=one) for one in ids])})
    assert sorted(row["transaction_id"] for row in accepted(own)) == sorted(ids)


def test_a_second_run_changes_nothing_and_answers_the_same(settings: Settings) -> None:
    first = take_in(settings, {"day.csv": csv([*GOOD, payment(8, amount_cents="x")])})
    before = current(Lake(settings.lake_uri).raw("fraud", "transactions", DAY))
    again = ingest.run(FRAUD, settings, batches=Batches(DAY, DAY), source="transactions")
    assert again.line == first.line
    assert (first.facts["changed"], again.facts["changed"]) == (1, 0)
    assert current(Lake(settings.lake_uri).raw("fraud", "transactions", DAY)) == before


def test_two_lakes_get_the_same_bytes(settings: Settings, tmp_path: Path) -> None:
    other = settings.model_copy(update={"lake_uri": str(tmp_path / "other")})
    for one in (settings, other):
        take_in(one, {"b.csv": csv(GOOD), "a.jsonl": jsonl([payment(9)])})
    digests = [current(Lake(one.lake_uri).raw("fraud", "transactions", DAY)).digest for one in (settings, other)]
    assert digests[0] == digests[1]


@pytest.mark.fault("F61")
@pytest.mark.parametrize("name", ["a\nb.csv", "x.duplicate.json", "a\x1b[31m.csv", "n" * 200 + ".csv"])
def test_a_file_name_that_cannot_be_kept_is_refused_before_anything_is_landed(settings: Settings, name: str) -> None:
    with pytest.raises(UsageError):
        deliver(settings, {"good-2026-01-10.csv": csv(GOOD), name: csv(GOOD)})
    assert not Path(settings.lake_uri).exists()


@pytest.mark.fault("F61")
def test_a_column_name_is_only_a_name(settings: Settings) -> None:
    result = take_in(settings, {"day.jsonl": jsonl([row | {"a\nDROP\x1b[31m": 1} for row in GOOD])})
    assert result.facts["accepted"] == 5
    assert result.line.isprintable()


@pytest.mark.fault("F61")
def test_a_file_name_is_only_a_name(settings: Settings, tmp_path: Path) -> None:
    result = take_in(settings, {"$(touch pwned); drop table {{ x }} '--.csv": csv(GOOD)})
    assert result.facts["accepted"] == 5
    assert not list(tmp_path.rglob("pwned"))


def test_the_delivery_day_is_the_date_in_the_name(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "payments-2026-01-10.csv"
    path.write_bytes(csv(GOOD))
    result = land.run(FRAUD, settings, files=[path], source="transactions")
    assert result.facts["batches"] == ["2026-01-10"]
    with pytest.raises(UsageError, match="nothing was landed"):
        land.run(FRAUD, settings, files=[tmp_path / "none.csv"], source="transactions")


def test_the_public_handbook_files_land_unchanged_and_every_row_is_accounted_for(
    settings: Settings, handbook_raw: Path
) -> None:
    days = ("2018-04-01", "2018-07-01", "2018-08-14")
    files = [handbook_raw / f"{day}.parquet" for day in days]
    land.run(FRAUD, settings, files=files, source="transactions")
    for day, file in zip(days, files, strict=True):
        result = ingest.run(FRAUD, settings, batches=Batches.parse(day))
        facts, delivered = result.facts, pq.read_table(file)
        assert facts["delivered"] == facts["accepted"] == delivered.num_rows
        assert "TX_FRAUD_SCENARIO" in facts["extra_columns"]
        found = accepted(settings, date.fromisoformat(day))
        assert sum(row["is_fraud"] for row in found) == sum(delivered["TX_FRAUD"].to_pylist())
        cents = {str(row["TRANSACTION_ID"]): round(row["TX_AMOUNT"] * 100) for row in delivered.to_pylist()}
        assert {row["transaction_id"]: row["amount_cents"] for row in found} == cents
        published = current(Lake(settings.lake_uri).raw("fraud", "transactions", date.fromisoformat(day)))
        assert published is not None
        verify(published)
