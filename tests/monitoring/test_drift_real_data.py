"""Drift on public data: silent where nothing is known to change, an alarm at a break that is known."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from jobs.batch import Batches
from jobs.lake import Lake
from jobs.monitoring.quarters import History, history_of
from jobs.monitoring.watching import Watched, watch
from jobs.projects.fraud.spec import FRAUD
from jobs.spec import Drift
from jobs.training.sources import Sources
from tests.conftest import HANDBOOK
from tests.features.clean import INSTANT, handbook
from tests.training.published import DAY, publish_spine

BREAK = date(1997, 5, 5)
"""From when on the New South Wales market was joined to Victoria's, on the data set's clock (its README)."""
WEEKS = Drift(window_days=7, minimum_rows=300, cool_down_days=14)


def days(frame: pd.DataFrame, first: date, last: date, edges: History | None = None) -> History:
    """The days of a frame with `at` and columns, from the first to the last; in another history's bins, if given."""
    rows = frame[(frame["at"] >= pd.Timestamp(first)) & (frame["at"] < pd.Timestamp(last + timedelta(days=1)))]
    columns = {name: rows[name].to_numpy(dtype=np.float64) for name in frame.columns.drop("at")}
    times = rows["at"].to_numpy(dtype="datetime64[us]").astype(np.int64)
    return history_of(times, columns, edges.edges if edges else ())


def watched(frame: pd.DataFrame, reference: Batches, until: date, policy: Drift) -> Watched:
    before = days(frame, reference.first, reference.last)
    return watch(before, days(frame, reference.last + timedelta(days=1), until, before), policy)


def day_of(number: int | None) -> date | None:
    return None if number is None else date(1970, 1, 1) + timedelta(days=number)


def test_raw_columns_of_the_handbook_are_silent_from_may_to_september_against_april(handbook_raw: Path) -> None:
    frame = duckdb.sql(
        "SELECT TX_DATETIME AS at, TX_AMOUNT AS amount, TX_TIME_SECONDS % 86400 AS second,"
        " count(*) OVER of_customer AS customer_payments, avg(TX_AMOUNT) OVER of_customer AS customer_mean,"
        " count(*) OVER (PARTITION BY TERMINAL_ID, TX_TIME_DAYS) AS terminal_payments"
        f" FROM read_parquet('{handbook_raw}/*.parquet')"
        " WINDOW of_customer AS (PARTITION BY CUSTOMER_ID, TX_TIME_DAYS)"
    ).df()
    found = watched(frame, Batches.parse("2018-04-01..2018-04-30"), date(2018, 9, 30), FRAUD.drift)
    assert len(found.day) == 153 - FRAUD.drift.window_days + 1
    assert found.alarms == 0
    assert found.distances.max() < 0.02
    moved = frame.assign(amount=frame["amount"].where(frame["at"] < pd.Timestamp("2018-08-01"), frame["amount"] * 1.6))
    seen = watched(moved, Batches.parse("2018-04-01..2018-04-30"), date(2018, 9, 30), FRAUD.drift)
    assert date(2018, 8, 1) <= day_of(seen.first) <= date(2018, 8, 4), "prices that rise by 1.6 in August are seen"  # type: ignore[operator]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_fraud_input_of_the_handbook_is_silent_until_september_against_the_first_full_weeks(
    handbook_raw: Path, tmp_path: Path
) -> None:
    """Windows reach back 37 days: the first five weeks that are full begin on 8 May."""
    lake, model = Lake(tmp_path), FRAUD.models[-1]
    for day in Batches.parse("2018-04-01..2018-09-30"):
        raw = handbook(handbook_raw / f"{day}.parquet")
        known = pc.add(raw["event_time"].cast(pa.int64()), FRAUD.label.delay_days * DAY).cast(INSTANT)
        table = raw.rename_columns(["event_id", "event_time", "customer_id", "terminal_id", "amount_cents", "label"])
        fraud, cents = table["label"].to_numpy().astype(bool), table["amount_cents"].to_numpy()
        of_day = np.full(len(cents), (day - date(1970, 1, 1)).days)
        for name, values in (
            ("genuine", ~fraud), ("genuine_cents", np.where(fraud, 0, cents)),
            ("genuine_day", np.where(fraud, 0, of_day)), ("small_fraud", fraud & (cents < 22_000)),
        ):  # fmt: skip
            table = table.append_column(name, pa.array(values.astype(np.int64)))
        publish_spine(lake, day, table.append_column("label_time", known))
    parts = []
    for first, last in (("05-08", "06-11"), ("06-12", "07-20"), ("07-21", "08-31"), ("09-01", "09-30")):
        some = Batches.parse(f"2018-{first}..2018-{last}")
        made = Sources.of(FRAUD, lake, some).frame(model, some.last + timedelta(days=8))
        parts.append(made.select(["event_time", *model.inputs]).to_pandas().rename(columns={"event_time": "at"}))
    frame = pd.concat(parts)
    frame["at"] = frame["at"].dt.tz_localize(None)
    found = watched(frame, Batches.parse("2018-05-08..2018-06-11"), date(2018, 9, 30), FRAUD.drift)
    assert len(found.day) == 111 - FRAUD.drift.window_days + 1
    assert found.alarms == 0
    assert found.distances.max() < 0.05


@pytest.fixture(scope="module")
def market() -> pd.DataFrame:
    path = HANDBOOK.parent / "drift_elec2" / "elec2.parquet"
    if not path.exists():
        pytest.skip(f"the public Elec2 file is not at {path}; set TIDEMILL_DATA to the folder above its own")
    frame = pd.read_parquet(path).rename(columns={"timestamp": "at"})
    return frame[["at", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer"]]


def test_elec2_is_silent_until_the_markets_are_joined_and_alarms_the_day_after(market: pd.DataFrame) -> None:
    """Prices and demand of New South Wales vary by themselves: their thresholds are ten times the floor and more."""
    found = watched(market, Batches.parse("1997-01-01..1997-04-01"), date(1997, 6, 30), WEEKS)
    assert day_of(int(found.day[0])) == date(1997, 4, 8)
    assert day_of(found.first) == BREAK + timedelta(days=1)
    joined = found.drifted[found.day == found.first][0]
    assert joined.tolist() == [False, False, True, True, True]
    assert min(found.calibration.thresholds[name] for name in ("nswprice", "nswdemand")) > 10 * WEEKS.effect_floor / 2


def test_what_was_constant_in_elec2_is_silent_for_the_ten_months_before_the_break(market: pd.DataFrame) -> None:
    found = watched(
        market[["at", "vicprice", "vicdemand", "transfer"]], Batches.parse("1996-05-07..1996-07-01"), date(1997, 5, 8),
        WEEKS,
    )  # fmt: skip
    assert len(found.day) > 300
    assert day_of(found.first) == BREAK + timedelta(days=1)
