"""From published days to the online store: what is written, what is not written again, and what a loss costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.features import materialize as module
from jobs.features.materialize import materialize
from jobs.features.offline import available_at
from jobs.features.online import LookedUp, OnlineStore
from jobs.lake import Lake
from jobs.settings import Settings
from jobs.spec import Project
from jobs.storage import digest_of, publish
from tests.features.stores import DAY, PAIR, PROFILE, TERMINAL, Payment, RedisServer, asked, house, windows  # fmt: skip

FIRST = date(2026, 1, 1)
_projects = count()


def day(number: int) -> date:
    return FIRST + timedelta(days=number - 1)


def at(number: int, hour: float = 12) -> int:
    return int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000 + (number - 1) * DAY + int(hour * DAY / 24)


@pytest.fixture
def project() -> Project:
    return house(f"m{next(_projects)}")


@pytest.fixture
def settings(settings: Settings, url: str) -> Settings:
    return settings.model_copy(update={"online_store_url": url})


def deliver(lake: Lake, project: Project, number: int, payments: Sequence[Payment], watermark: int = 0) -> None:
    """Publishes a day of the spine."""
    table = pa.table(
        {
            "event_id": [one.id for one in payments],
            "event_time": pa.array([one.time for one in payments]).cast(pa.timestamp("us", "UTC")),
            "customer_id": [one.customer_id for one in payments],
            "terminal_id": [one.terminal_id for one in payments],
            "amount_cents": [one.amount_cents for one in payments],
            "label": [bool(one.label) for one in payments],
        }
    )
    _publish(lake.spine(project.name, day(number)), table, day(watermark or number))


def profile(lake: Lake, project: Project, number: int, values: dict[str, tuple[int, int]], watermark: int = 0) -> None:
    """Publishes a batch of the profile."""
    table = pa.table(
        {
            "customer_id": list(values),
            "batch": pa.array([day(number)] * len(values), pa.date32()),
            "available_at": pa.array([available_at(PROFILE, day(number))] * len(values), pa.timestamp("us", "UTC")),
            "x": [x for x, _ in values.values()],
            "y": [y for _, y in values.values()],
        }
    )
    _publish(lake.features(project.name, "profile", day(number)), table, day(watermark or number))


def _publish(partition: Path, table: pa.Table, watermark: date) -> None:
    def write(folder: Path) -> int:
        pq.write_table(table, folder / "part-00000.parquet")
        return len(table)

    publish(partition, write, inputs={"made up": digest_of(str(table.to_pylist()))}, watermark=str(watermark))


def ask(settings: Settings, project: Project, *payments: Payment, add: bool = False) -> LookedUp:
    store = OnlineStore.open(settings.online_store_url, project)
    try:
        return store.look_up(*asked(payments), add=add)
    finally:
        store.close()


def answers(looked: LookedUp) -> dict[str, list[list[int]]]:
    return {name: looked.values[name].tolist() for name in ("pair", "terminal")}


def expected(one: Payment, known: Iterable[Payment]) -> dict[str, list[list[int]]]:
    known = [other for other in known if (other.time, other.id) != (one.time, one.id)]
    return {view.name: [windows(view, one, known)] for view in (PAIR, TERMINAL)}


def history(days: range) -> dict[int, list[Payment]]:
    return {
        number: [
            Payment(f"e{number}-{hour}", at(number, hour), f"c{hour % 3}", f"t{hour % 2}", number * hour, hour % 4 == 0)
            for hour in range(1, 24)
        ]
        for number in days
    }


def test_every_view_is_filled_and_the_same_is_not_written_again(
    settings: Settings, lake: Lake, project: Project
) -> None:
    days = history(range(1, 14))
    for number, payments in days.items():
        deliver(lake, project, number, payments)
        profile(lake, project, number, {"c0": (number, 1), f"only{number}": (number, 2)})
    # of the profile the keys of five batches: older ones have outlived the ttl
    assert materialize(project, settings) == {"profile": 6, "pair": 6, "terminal": 2}
    assert materialize(project, settings) == {"profile": 0, "pair": 0, "terminal": 0}
    one = Payment("new", at(14, 6), "c0", "t1", 77)
    looked = ask(settings, project, one)
    assert answers(looked) == expected(one, [other for payments in days.values() for other in payments])
    assert looked.values["profile"].tolist() == [[13, 1]]


def test_an_empty_lake_is_an_empty_store_that_answers(settings: Settings, lake: Lake, project: Project) -> None:
    assert materialize(project, settings) == {"profile": 0, "pair": 0, "terminal": 0}
    looked = ask(settings, project, Payment("first", at(1)))
    assert looked.values["pair"].tolist() == [[1, 100, 100]]
    assert not looked.found["profile"].any()
    deliver(lake, project, 1, [])
    assert materialize(project, settings) == {"profile": 0, "pair": 0, "terminal": 0}


def test_only_the_keys_of_days_that_changed_are_written(settings: Settings, lake: Lake, project: Project) -> None:
    days = history(range(1, 11))
    for number, payments in days.items():
        deliver(lake, project, number, payments)
    materialize(project, settings)

    ask(settings, project, Payment("scored", at(11), "c0", "t1", 5), add=True)
    days[11] = [Payment("lone", at(11, 1), "new", "t1", 8), Payment("scored", at(11), "c0", "t1", 5, label=1)]
    deliver(lake, project, 11, days[11])
    assert materialize(project, settings) == {"profile": 0, "pair": 1, "terminal": 1}  # `scored` is there already

    days[3] = [replace(one, label=1) if one.id in {"e3-3", "e3-5"} else one for one in days[3]]
    deliver(lake, project, 3, days[3], watermark=11)  # its labels are known
    assert materialize(project, settings) == {"profile": 0, "pair": 0, "terminal": 1}
    known = [other for payments in days.values() for other in payments]
    for one in (Payment("a", at(10, 3.5), "c0", "t1"), Payment("b", at(18, 12.5), "c0", "t1")):
        assert answers(ask(settings, project, one)) == expected(one, known)


@pytest.mark.fault("F27")
def test_a_late_day_counts_and_moves_nothing_back(settings: Settings, lake: Lake, project: Project) -> None:
    days = history(range(1, 9))
    for number, payments in days.items():
        deliver(lake, project, number, payments)
        profile(lake, project, number, {"c0": (number, 0)})
    materialize(project, settings)
    late = Payment("late", at(7, 22), "c0", "t1", 9_999)
    deliver(lake, project, 7, [*days[7], late], watermark=8)
    profile(lake, project, 6, {"c0": (-1, -1), "newcomer": (6, 6)}, watermark=8)
    written = materialize(project, settings)
    assert written["profile"] == 2  # the newcomer's, and c0's newest once more
    one = Payment("new", at(8, 12.5), "c0", "t1", 1)
    looked = ask(settings, project, one)
    assert answers(looked) == expected(one, [late, *(other for payments in days.values() for other in payments)])
    assert ask(settings, project, replace(one, time=at(9, 1))).values["profile"].tolist() == [[8, 0]]


@pytest.mark.parametrize("rows", [7, 1_000_000])
def test_keys_are_done_in_slices(
    settings: Settings, lake: Lake, project: Project, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLICE_ROWS", rows)
    days = history(range(1, 4))
    for number, payments in days.items():
        deliver(lake, project, number, payments)
    assert materialize(project, settings) == {"profile": 0, "pair": 6, "terminal": 2}
    one = Payment("new", at(3, 23.5), "c1", "t1", 1)
    assert answers(ask(settings, project, one)) == expected(one, [x for payments in days.values() for x in payments])


def test_a_changed_view_is_filled_anew_from_every_day(settings: Settings, lake: Lake, project: Project) -> None:
    days = history(range(1, 12))
    for number, payments in days.items():
        deliver(lake, project, number, payments)
    materialize(project, settings)
    shorter = replace(TERMINAL, windows=TERMINAL.windows[:2])
    changed = replace(project, live_views=(PAIR, shorter))
    assert materialize(changed, settings) == {"profile": 0, "pair": 0, "terminal": 2}
    one = Payment("new", at(12), "c0", "t1")
    found = ask(settings, changed, one).values["terminal"].tolist()
    assert found == [windows(shorter, one, [x for payments in days.values() for x in payments])]


@pytest.mark.fault("F66")
@pytest.mark.parametrize("url", ["redis"])
def test_a_flushed_redis_is_filled_again_to_the_same_values(
    settings: Settings, lake: Lake, project: Project, redis: RedisServer
) -> None:
    settings = settings.model_copy(update={"online_store_url": redis.url})
    days = history(range(1, 13))
    for number, payments in days.items():
        deliver(lake, project, number, payments)
        profile(lake, project, number, {"c0": (number, 1)})
    first = materialize(project, settings)
    rows = [Payment(f"new{hour}", at(13, hour), f"c{hour % 3}", f"t{hour % 2}") for hour in range(8)]
    before = ask(settings, project, *rows)
    redis.client().flushall()
    assert materialize(project, settings) == first
    after = ask(settings, project, *rows)
    assert {name: values.tolist() for name, values in after.values.items()} == {
        name: values.tolist() for name, values in before.values.items()
    }
    assert after.provenance == before.provenance
