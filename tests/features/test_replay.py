"""A clean stream is identical: answers of a real online store beside what the lake says of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from jobs.errors import DataRejected
from jobs.features.replay.outcome import outcome
from jobs.settings import Settings
from tests.features.morning import morning, sales
from tests.features.shop import DAY, NOON, SHOP, Sale, Shop


@pytest.fixture
def shop(settings: Settings) -> Iterator[Shop]:
    with morning(settings) as shop:
        yield shop


def test_a_clean_day_is_identical(shop: Shop, tmp_path: Path) -> None:
    shop.answer(*sales(0, 0, 5))
    for sale in sales(10, 20, 30, first=3):
        shop.answer(sale)
    shop.answer(Sale("s-900", NOON + timedelta(minutes=2), "nobody"))
    found = outcome(shop.replay(tmp_path), 0.999)
    assert (found["vectors"], found["identical"], found["share"], found["verdict"]) == (7, 7, 1.0, "holds")
    assert found["never_delivered"] == 7
    assert all(one["share"] == 1 for one in found["inputs"].values())


@dataclass(frozen=True)
class Visit:
    """What happens at one moment: sales at once, some in one request, some asked about again; then maybe a delivery."""

    sales: tuple[Sale, ...]
    together: bool
    again: bool
    delivered: bool


def visits() -> st.SearchStrategy[list[Visit]]:
    keys = st.sampled_from(["c-0", "c-1", "c-2"])
    sale = st.tuples(
        st.sampled_from(["a", "é", "Z", "10", "9"]), keys, st.sampled_from(["t-1", "t-2"]), st.integers(1, 400)
    )
    moment = st.tuples(st.lists(sale, min_size=1, max_size=4), st.booleans(), st.booleans(), st.booleans())
    gaps = st.sampled_from([1, 3_600, 43_200, 86_400, 260_000])

    def made(moments: list[Any]) -> list[Visit]:
        at, found = NOON, []
        for number, ((rows, together, again, delivered), gap) in enumerate(moments):
            at += timedelta(seconds=gap)
            every = [Sale(f"{name}-{number}-{place}", at, *rest) for place, (name, *rest) in enumerate(rows)]
            if not together:  # clients of one key ask one after the other, in the order of their ids
                every.sort(key=lambda sale: sale.id.encode())
            found.append(Visit(tuple(every), together, again, delivered))
        return found

    return st.lists(st.tuples(moment, gaps), min_size=1, max_size=8).map(made)


@examples(max_examples=15, deadline=None, database=None)
@given(visits=visits())
def test_any_clean_stream_is_identical(visits: list[Visit]) -> None:
    with TemporaryDirectory() as folder:
        home = Path(folder)
        settings = Settings(
            _env_file=None, home=home, lake_uri=str(home / "lake"), online_store_url=f"sqlite:///{home / 'online'}"
        )  # type: ignore[call-arg]
        with morning(settings) as shop:
            for visit in visits:
                for request in [visit.sales] if visit.together else [(sale,) for sale in visit.sales]:
                    shop.answer(*request)
                    if visit.again:
                        shop.answer(*request)
                if visit.delivered:  # with labels that come at last, and only to the lake
                    day = visit.sales[0].at.date()
                    labelled = [replace(sale, label=sale.cents % 2 == 1) for sale in visit.sales]
                    shop.deliver(day, [*shop.sold(day), *labelled])
                    shop.materialize()
            found = outcome(shop.replay(home), 0.999)
    assert found["identical"] == found["vectors"] == len(shop.records)


def test_retries_and_duplicates_count_once(shop: Shop, tmp_path: Path) -> None:
    first, second = sales(0, 60)
    shop.answer(first)
    shop.answer(first)  # the client asked again
    shop.records.append(dict(shop.records[0]))  # and its record was delivered twice
    shop.answer(second)
    found = outcome(shop.replay(tmp_path), 0.999)
    assert (found["vectors"], found["identical"]) == (3, 3)


def test_the_lake_wins_over_what_was_scored_and_names_what_it_never_got(shop: Shop, tmp_path: Path) -> None:
    every = sales(0, 60, 120)
    for sale in every:
        shop.answer(sale)
    shop.deliver(DAY, every[:2])
    found = outcome(shop.replay(tmp_path), 0.999)
    assert (found["identical"], found["never_delivered"]) == (3, 1)


def test_what_was_never_delivered_stays_in_tiles_that_the_lake_replaces(shop: Shop, tmp_path: Path) -> None:
    """Of what was asked on a day the lake gets the half: the day's tiles are the lake's, and yet count all of it."""
    hour = timedelta(hours=1)
    shop.project = replace(
        SHOP,
        live_views=tuple(
            replace(view, windows=tuple(replace(window, hop=hour) for window in view.windows))
            for view in SHOP.live_views
        ),
    )
    shop.materialize()
    every = sales(0, 60, 120, 180, 18_000, 25_000)  # the last are hours later: the first are in tiles by then
    for sale in every:
        shop.answer(sale)
    shop.ingest()
    shop.deliver(DAY, [*every[:2], every[-1]])
    shop.materialize()
    for days in (1, 5, 8):
        shop.answer(Sale(f"s-later-{days}", NOON + timedelta(days=days), "c-0"))
    found = outcome(shop.replay(tmp_path), 0.999)
    assert (found["identical"], found["vectors"], found["never_delivered"]) == (9, 9, 6)


def test_a_log_that_cannot_be_read_says_where(shop: Shop, tmp_path: Path) -> None:
    shop.answer(*sales(0, 1))
    shop.records[1]["payload"] = json.dumps({"amount_cents": "many"})
    with pytest.raises(DataRejected, match="event 's-001' has no 'customer_id'"):
        shop.replay(tmp_path)
