"""The Fraud Detection Handbook's 12 window features, on its own files: from the lake, and event by event.

They are held against pandas' rolling windows, which the book computes them by (chapter 3, "Baseline feature
transformation"), and against the published feature files where there are any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from jobs.batch import Batches
from jobs.features.live import state
from jobs.features.live.offline import windows
from jobs.features.vectors import event_days
from jobs.projects.fraud.spec import FRAUD
from jobs.spec import LiveView
from tests.features.clean import handbook

DAYS = (1, 7, 30)
TWELVE = [f"{name}_{days}d" for name in ("count", "amount_cents", "frauds") for days in DAYS]
CUSTOMER, TERMINAL = (
    replace(view, windows=tuple(window for window in view.windows if window.name in TWELVE))
    for view in FRAUD.live_views
)
FIRST, LAST = date(2018, 7, 25), date(2018, 8, 14)
DAY = 86_400_000_000
COUNTS = [f"{entity}_ID_NB_TX_{days}DAY_WINDOW" for entity in ("CUSTOMER", "TERMINAL") for days in DAYS]
RATIOS = [f"CUSTOMER_ID_AVG_AMOUNT_{days}DAY_WINDOW" for days in DAYS]
RATIOS += [f"TERMINAL_ID_RISK_{days}DAY_WINDOW" for days in DAYS]


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory, handbook_raw: Path) -> Mapping[date, str]:
    """The spine of every event day that the windows reach, by day."""
    folder = tmp_path_factory.mktemp("spine")
    files = {}
    for day in event_days(TERMINAL, FIRST, LAST):
        table = handbook(handbook_raw / f"{day}.parquet").rename_columns(
            ["event_id", "event_time", "customer_id", "terminal_id", "amount_cents", "label"]
        )
        files[day] = str(folder / f"{day}.parquet")
        pq.write_table(table, files[day])
    return files


@pytest.fixture(scope="module")
def ours(events: Mapping[date, str]) -> pa.Table:
    """The 21 days with their windows, as training and replay get them."""
    asked = pa.concat_tables([pq.read_table(events[day]) for day in Batches(FIRST, LAST)]).drop_columns(["label"])
    files = {view: list(events.values()) for view in (CUSTOMER, TERMINAL)}
    return windows([CUSTOMER, TERMINAL], asked, files, provenance=True)


@pytest.fixture(scope="module", params=["pandas", "published"])
def theirs(request: pytest.FixtureRequest, handbook_raw: Path) -> pd.DataFrame:
    """The same rows with the book's features, by transaction id."""
    if request.param == "published":
        folder = handbook_raw.parent / "features_2018-07-25_2018-08-14"
        if not folder.is_dir():
            pytest.skip(f"the book's published feature files are not at {folder}")
        frame = pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))])
        frame["tied_in_order"] = False
    else:
        days = event_days(TERMINAL, FIRST, LAST)
        frame = rolled(pd.concat([pd.read_parquet(handbook_raw / f"{day}.parquet") for day in days]))
        frame = frame[pd.Timestamp(FIRST) <= frame.TX_DATETIME]
        frame["tied_in_order"] = True
    frame.index = frame.TRANSACTION_ID.astype(str)
    return frame


def rolled(payments: pd.DataFrame) -> pd.DataFrame:
    """The book's features by pandas: of payments in the same second, those with a smaller id as text come before."""
    payments = payments.assign(name=payments.TRANSACTION_ID.astype(str)).sort_values(["TX_DATETIME", "name"])
    payments = payments.set_index(pd.RangeIndex(len(payments)))
    timed = payments.assign(cents=(payments.TX_AMOUNT * 100).round(), one=1.0).set_index("TX_DATETIME")

    def sums(key: str, days: int) -> pd.DataFrame:
        """Of each payment, the sums over the key's payments of the last days, itself included."""
        rolled = timed.groupby(key)[["one", "cents", "TX_FRAUD"]].rolling(f"{days}D").sum().round()
        return rolled.set_index(np.argsort(timed[key].to_numpy(), kind="stable")).sort_index()

    recent = sums("TERMINAL_ID", 7)
    for days in DAYS:
        own = sums("CUSTOMER_ID", days)
        payments[f"CUSTOMER_ID_NB_TX_{days}DAY_WINDOW"] = own.one
        payments[f"CUSTOMER_ID_AVG_AMOUNT_{days}DAY_WINDOW"] = own.cents / own.one / 100
        known = sums("TERMINAL_ID", days + 7) - recent
        payments[f"TERMINAL_ID_NB_TX_{days}DAY_WINDOW"] = known.one
        payments[f"TERMINAL_ID_RISK_{days}DAY_WINDOW"] = (known.TX_FRAUD / known.one.where(known.one > 0)).fillna(0)
    return payments


def as_the_book(table: pa.Table) -> pd.DataFrame:
    """Our integers under the book's names: means in currency units, shares of frauds."""
    frame = table.to_pandas().set_index("event_id")
    found = frame[["event_time", "customer_id"]].copy()
    for days in DAYS:
        for entity, view, total, unit in (
            ("CUSTOMER_ID_AVG_AMOUNT", "customer", "amount_cents", 100),
            ("TERMINAL_ID_RISK", "terminal", "frauds", 1),
        ):
            count = frame[f"{view}__count_{days}d"]
            found[f"{view.upper()}_ID_NB_TX_{days}DAY_WINDOW"] = count
            found[f"{entity}_{days}DAY_WINDOW"] = (frame[f"{view}__{total}_{days}d"] / count.where(count > 0)).fillna(
                0
            ) / unit
    return found


def test_the_project_declares_the_12_windows() -> None:
    assert len(CUSTOMER.windows) == len(TERMINAL.windows) == 6


def test_the_handbooks_windows_are_ours_cell_for_cell(ours: pa.Table, theirs: pd.DataFrame) -> None:
    mine = as_the_book(ours)
    assert len(mine) == len(theirs) == 201_295
    theirs = theirs.loc[mine.index]
    equal = (mine[COUNTS] == theirs[COUNTS]).all(axis=1)
    equal &= np.isclose(mine[RATIOS], theirs[RATIOS], rtol=1e-9, atol=0).all(axis=1)
    tied = mine.duplicated(["customer_id", "event_time"], keep=False)
    print(f"{(~equal).sum()} of {len(mine):,} rows differ; {tied.sum()} are of one customer in the same second")
    assert not (~equal & ~tied).any(), mine[~equal & ~tied].index.tolist()
    if theirs.tied_in_order.all():
        assert equal.all(), mine[~equal].index.tolist()


@pytest.mark.parametrize("view", [CUSTOMER, TERMINAL], ids=lambda view: view.name)
def test_the_handbooks_windows_are_the_same_event_by_event(
    view: LiveView, events: Mapping[date, str], ours: pa.Table
) -> None:
    """Scored in the order they happen, without a label; at the end of each day the lake's rows bring it."""
    key = view.entity[0]
    stream = pa.concat_tables([pq.read_table(path) for path in events.values()])
    sample = sorted(set(ours.column(key).to_pylist()))[::100]
    stream = stream.filter(pc.is_in(stream.column(key), pa.array(sample)))
    stream = stream.sort_by([("event_time", "ascending"), ("event_id", "ascending")])
    answered = dict(read(view, stream))
    names = [f"{view.name}__{name}" for name in (*view.features, "events", "checksum")]
    asked = ours.filter(pc.is_in(ours.column(key), pa.array(sample)))
    expected = list(zip(*(asked.column(name).to_pylist() for name in names), strict=True))
    assert len(expected) > 1_000
    assert [answered[event] for event in asked.column("event_id").to_pylist()] == expected


def read(view: LiveView, stream: pa.Table) -> Iterator[tuple[str, tuple[int, ...]]]:
    """What each event is answered, by its id."""
    states: dict[str, bytes] = {}
    rows = stream.to_pylist()
    times = stream.column("event_time").cast(pa.int64()).to_pylist()
    for day, mine in groupby(zip(times, rows, strict=True), key=lambda one: one[0] // DAY):
        todays = list(mine)
        now = (day + 1) * DAY
        for time, row in todays:
            key = row[view.entity[0]]
            (scored,) = packed(view, [(time, row)], labelled=False).values.tolist()
            states[key], found = state.score(view, states.get(key), time, row["event_id"], scored, now)
            yield row["event_id"], (*found.values, found.events, found.checksum)
        for key in {row[view.entity[0]] for _, row in todays}:
            lake = packed(view, [(time, row) for time, row in todays if row[view.entity[0]] == key], labelled=True)
            states[key] = state.replace(view, states[key], lake, now)


def packed(view: LiveView, rows: Sequence[tuple[int, dict]], *, labelled: bool) -> state.Events:
    columns = {name: [row[name] for _, row in rows] for name in view.columns if labelled or name != "label"}
    times = np.array([time for time, _ in rows])
    return state.Events(times, [row["event_id"] for _, row in rows], state.values_of(view, columns, len(rows)))
