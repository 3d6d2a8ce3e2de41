"""From raw to clean to validated, in one Spark session for the module."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import expectations
from jobs.batch import Batches
from jobs.errors import SpecError
from jobs.lake import Lake
from jobs.projects import NAMES, PROJECTS
from jobs.settings import Settings
from jobs.spec import Project
from jobs.stages import backfill, etl, features, ingest, simulate, validate
from jobs.storage import current, publish, require
from tests.data.deliveries import DAY, FRAUD, csv, deliver, payment, rows_of, take_in

WEEK = Batches.parse("2026-01-01..2026-01-05")


def clean(settings: Settings, day: date, table: str = "transactions") -> list[dict]:
    return rows_of(Lake(settings.lake_uri).clean("fraud", table, day))


def run_etl(settings: Settings, first: date, last: date | None = None) -> dict:
    return dict(etl.run(FRAUD, settings, batches=Batches(first, last or first)).facts)


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Five simulated days with every mishap, cleaned in one go."""
    home = tmp_path_factory.mktemp("week")
    settings = Settings(_env_file=None, home=home, lake_uri=str(home / "lake"), online_store_url=f"sqlite:///{home}/o")
    simulate.run(FRAUD, settings, batches=WEEK, out=home / "out", mishaps=True, deliver=True)
    ingest.run(FRAUD, settings, batches=WEEK)
    etl.run(FRAUD, settings, batches=WEEK)
    return settings


def digests(settings: Settings) -> dict[tuple[str, date], str]:
    lake = Lake(settings.lake_uri)
    return {
        (table, day): require(lake.clean("fraud", table, day), "etl").digest for table in FRAUD.tables for day in WEEK
    }


def test_every_accepted_event_is_clean_once_on_its_own_day(week: Settings) -> None:
    lake = Lake(week.lake_uri)
    raw = {row["transaction_id"] for day in WEEK for row in rows_of(lake.raw("fraud", "transactions", day))}
    cleaned = [(row["transaction_id"], row["event_time"].date(), day) for day in WEEK for row in clean(week, day)]
    assert sorted(one[0] for one in cleaned) == sorted(raw)
    assert all(of == day for _, of, day in cleaned)


def test_a_partition_is_one_sorted_file_of_typed_columns(week: Settings) -> None:
    published = require(Lake(week.lake_uri).clean("fraud", "transactions", date(2026, 1, 2)), "etl")
    (path,) = published.paths()
    assert Path(path).name == "part-00000.parquet"
    schema = pq.read_schema(path)
    assert {field.name: str(field.type) for field in schema} == {
        "transaction_id": "string", "event_time": "timestamp[us, tz=UTC]", "customer_id": "string",
        "terminal_id": "string", "amount_cents": "int64", "is_fraud": "bool",
    }  # fmt: skip
    writer = pq.read_metadata(path).created_by
    assert writer.startswith("parquet-cpp"), "Spark's own files are not the same bytes in every process"
    rows = rows_of(published.partition)
    assert rows == sorted(rows, key=lambda row: (row["event_time"], row["transaction_id"]))
    assert published.manifest.rows == len(rows)
    assert published.manifest.watermark == "2026-01-05"


def test_day_by_day_and_in_one_range_end_in_the_same_bytes(week: Settings, settings: Settings) -> None:
    simulate.run(FRAUD, settings, batches=WEEK, out=settings.home / "out", mishaps=True, deliver=True)
    for day in WEEK:
        ingest.run(FRAUD, settings, batches=Batches(day, day))
        etl.run(FRAUD, settings, batches=Batches(day, day))
    assert digests(settings) == digests(week)
    assert not list((Path(settings.lake_uri) / "scratch" / "fraud").iterdir())


def test_a_second_run_changes_nothing(week: Settings) -> None:
    assert etl.run(FRAUD, week, batches=WEEK).facts["changed"] == 0


@pytest.mark.fault("F27")
def test_a_late_file_goes_to_its_own_day_and_no_other_day_changes(settings: Settings) -> None:
    before, after = DAY - timedelta(days=1), DAY + timedelta(days=3)
    take_in(settings, {"before.csv": csv([payment(50, event_time="2026-01-09T10:00:00Z")])}, before)
    take_in(settings, {"day.csv": csv([payment(1)])})
    run_etl(settings, before, DAY)
    digest = require(Lake(settings.lake_uri).clean("fraud", "transactions", before), "etl").digest
    late = [payment(2), payment(1, amount_cents=5), payment(60, event_time="2026-01-13T10:00:00Z")]
    take_in(settings, {"late.csv": csv(late)}, after)
    facts = run_etl(settings, after)
    assert [row["transaction_id"] for row in clean(settings, DAY)] == ["t1", "t2"]
    assert [row["amount_cents"] for row in clean(settings, DAY)] == [5, 1002]
    assert [batch["batch"] for batch in facts["batches"]] == ["2026-01-10", "2026-01-13"]
    lake = Lake(settings.lake_uri)
    assert require(lake.clean("fraud", "transactions", DAY), "etl").manifest.watermark == "2026-01-13"
    assert require(lake.clean("fraud", "transactions", before), "etl").digest == digest


@pytest.mark.fault("F26")
def test_an_event_delivered_again_with_another_time_is_on_one_day_only(settings: Settings) -> None:
    take_in(settings, {"day.csv": csv([payment(1), payment(2)])})
    moved = payment(1, event_time="2026-01-11T00:00:00Z")
    take_in(settings, {"next.csv": csv([moved])}, DAY + timedelta(days=1))
    run_etl(settings, DAY, DAY + timedelta(days=1))
    assert [row["transaction_id"] for row in clean(settings, DAY)] == ["t2"]
    (row,) = clean(settings, DAY + timedelta(days=1))
    assert row["event_time"] == datetime(2026, 1, 11, tzinfo=UTC)


def test_nothing_ingested_is_nothing_to_clean_or_to_validate(settings: Settings) -> None:
    for stage in (etl, validate):
        assert stage.run(FRAUD, settings, batches=Batches(DAY, DAY)).exit_code == 99


def test_good_days_pass_with_every_expectation_evaluated_and_pages_built(week: Settings) -> None:
    result = validate.run(FRAUD, week, batches=WEEK)
    assert (result.exit_code, result.facts["passed"], result.facts["failed"]) == (0, 5, 0)
    declared = sum(
        len(json.loads(expectations.suite_file("fraud", table).read_text())["expectations"]) for table in FRAUD.tables
    )
    assert result.facts["expectations"] == 5 * declared
    verdict = require(Lake(week.lake_uri).validation("fraud", date(2026, 1, 3)), "validate")
    document = json.loads((verdict.folder / "verdict.json").read_text())
    assert document["passed"] is verdict.manifest.facts["passed"] is True
    assert document["tables"]["transactions"]["evaluated"] == document["tables"]["transactions"]["expected"] > 0
    pages = Path(result.facts["docs"])
    assert "2026-01-03" in pages.read_text()
    assert len(list((pages.parent / "validations").rglob("*.html"))) == 10
    assert validate.run(FRAUD, week, batches=WEEK).facts["changed"] == 0


def test_a_day_of_too_few_rows_fails_with_the_reason_and_no_features(settings: Settings) -> None:
    take_in(settings, {"day.csv": csv([payment(number) for number in range(10)])})
    run_etl(settings, DAY)
    result = validate.run(FRAUD, settings, batches=Batches(DAY, DAY))
    assert result.exit_code == 1
    assert "2026-01-10" in result.line
    assert 'transactions: expect_table_row_count_to_be_between: {"observed_value": 10}' in result.line
    again = validate.run(FRAUD, settings, batches=Batches(DAY, DAY))
    assert (again.exit_code, again.line, again.facts["changed"]) == (1, result.line, 0)
    held = backfill.run(FRAUD, settings, batches=Batches(DAY, DAY))
    assert held.exit_code == 1
    assert set(held.facts["failed"]) == {"validate", "features"}
    assert not list(Path(settings.lake_uri, "features").rglob("*.parquet"))


def test_late_events_of_a_day_whose_own_delivery_is_still_to_come_hold_up_nobody(settings: Settings) -> None:
    after = DAY + timedelta(days=1)
    take_in(settings, {"after.csv": csv([payment(1), payment(2, event_time="2026-01-11T10:00:00Z")])}, after)
    run_etl(settings, after)
    assert set(validate.run(FRAUD, settings, batches=Batches(after, after)).facts["failures"]) == {str(after)}
    take_in(settings, {"day.csv": csv([payment(3)])})  # another run of a backfill, between its ingest and its etl
    assert set(validate.run(FRAUD, settings, batches=Batches(after, after)).facts["failures"]) == {str(after)}
    run_etl(settings, DAY)
    assert str(DAY) in validate.run(FRAUD, settings, batches=Batches(DAY, DAY)).facts["failures"]


@pytest.mark.fault("F40")
@pytest.mark.parametrize(
    ("expectation", "why"),
    [({"type": "expect_column_values_to_be_unique", "kwargs": {"column": "gone"}}, "raised"),
     ({"type": "expect_the_impossible", "kwargs": {}}, "of 1 expectations were evaluated")],
)  # fmt: skip
def test_an_expectation_that_cannot_be_evaluated_is_a_failure(
    week: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expectation: dict, why: str
) -> None:
    folder = tmp_path / "expectations" / "fraud"
    folder.mkdir(parents=True)
    for table in FRAUD.tables:
        suite = {"name": f"fraud.{table}", "expectations": [expectation]}
        (folder / f"{table}.json").write_text(json.dumps(suite))
    monkeypatch.setattr(expectations, "ROOT", tmp_path)
    other = week.model_copy(update={"lake_uri": str(tmp_path / "lake")})
    day = date(2026, 1, 1)
    for table in FRAUD.tables:
        _copy(week, other, table, day)
    result = validate.run(FRAUD, other, batches=Batches(day, day))
    assert result.exit_code == 1
    assert why in result.line
    (folder / "fraud_reports.json").unlink()
    with pytest.raises(SpecError, match="fraud_reports"):
        validate.run(FRAUD, other, batches=Batches(day, day))


@pytest.mark.fault("F38")
@pytest.mark.parametrize(
    ("times", "told", "held"),
    [(10.0, True, False), (50.0, True, True), (0.1, True, False), (0.05, True, True), (1.0, False, False)],
)
def test_ten_times_the_rows_or_a_tenth_are_told_and_held_as_the_bounds_say(
    week: Settings, tmp_path: Path, times: float, told: bool, held: bool
) -> None:
    own, lake = week.model_copy(update={"lake_uri": str(tmp_path / "lake")}), Lake(str(tmp_path / "lake"))
    for table in FRAUD.tables:
        for day in (*WEEK, WEEK.last + timedelta(days=1)):
            _copy(week, own, table, min(day, WEEK.last), day)
    day = WEEK.last + timedelta(days=1)
    usual = pq.read_table(require(lake.clean("fraud", "transactions", day), "etl").paths(), partitioning=None)
    rows = pa.concat_tables([usual] * max(1, round(times))).slice(0, round(len(usual) * times))
    renamed = pa.array([f"t{number}" for number in range(len(rows))])
    rows = rows.set_column(0, "transaction_id", renamed)
    publish(
        lake.clean("fraud", "transactions", day),
        lambda folder: pq.write_table(rows, folder / "part-00000.parquet") or len(rows),
        inputs={"times": str(times)},
        watermark=f"{day}T",
    )
    result = validate.run(FRAUD, own, batches=Batches(day, day))
    assert (result.exit_code == 1) is held
    assert ("expect_table_row_count_to_be_between" in result.line) is held
    assert set(result.facts["unusual"]) == ({str(day)} if told else set())
    assert ("times the" in result.line) is told


@pytest.mark.fault("F38")
@pytest.mark.parametrize("project", PROJECTS.values(), ids=NAMES)
def test_every_table_of_every_project_has_a_least_and_a_most_of_rows(project: Project) -> None:
    for table in project.tables:
        suite = json.loads(expectations.suite_file(project.name, table).read_text())["expectations"]
        (bounds,) = (one["kwargs"] for one in suite if one["type"] == "expect_table_row_count_to_be_between")
        assert 0 <= bounds["min_value"] < bounds["max_value"]


def _copy(source: Settings, target: Settings, table: str, day: date, to: date | None = None) -> None:
    published = require(Lake(source.lake_uri).clean("fraud", table, day), "etl")

    def write(folder: Path) -> int:
        (folder / "part-00000.parquet").write_bytes(Path(published.paths()[0]).read_bytes())
        return published.manifest.rows

    to = to or day
    publish(Lake(target.lake_uri).clean("fraud", table, to), write, inputs={"a": "b"}, watermark=to.isoformat())


def test_backfill_skips_days_without_a_delivery_and_accounts_for_every_row(week: Settings) -> None:
    result = backfill.run(FRAUD, week, batches=Batches(WEEK.first, WEEK.last + timedelta(days=2)))
    facts = result.facts
    assert result.exit_code == 0, result.line
    assert facts["accepted"] + facts["quarantined"] + facts["duplicates"] == facts["delivered"] > 8_000
    assert (facts["batches"], facts["skipped"]) == (5, ["2026-01-06", "2026-01-07"])
    for view in FRAUD.views:
        assert current(Lake(week.lake_uri).features("fraud", view.name, WEEK.last)) is not None
    assert features.run(FRAUD, week, batches=WEEK).exit_code == 0
    assert backfill.run(FRAUD, week, batches=WEEK).facts["accepted"] == facts["accepted"]


def test_backfill_goes_on_behind_a_refused_file_and_tells_it_at_the_end(week: Settings) -> None:
    day = WEEK.last + timedelta(days=1)
    deliver(week, {"broken.parquet": b"PAR1"}, day)
    result = backfill.run(FRAUD, week, batches=Batches(WEEK.first, day))
    assert result.exit_code == 1
    assert "broken.parquet" in result.line
    assert set(result.facts["failed"]) == {"ingest"}
    assert result.facts["stages"]["validate"]["passed"] == 5
