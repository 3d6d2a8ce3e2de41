"""Live states in the online store: what a request is answered, and that no scored event is lost or counted twice."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.errors import ServiceError, SpecError
from jobs.features.live.state import Events
from jobs.features.online import LookedUp, OnlineStore, unsaved
from jobs.features.online.store import Part
from jobs.spec import Project
from tests.features.stores import (
    DAY,
    NOW,
    PAIR,
    PROFILE,
    SECOND,
    TERMINAL,
    Payment,
    RedisServer,
    T,
    asked,
    filled,
    house,
    lake_events,
    redis_server,
    windows,
)

_projects = count()
KEYS = [("c", "t", 0), ("c", "t", 1), ("c", "|t", 0), ("c|", "t", 1), ("d", "t", 0)]
POOL = [Payment(f"e{at}", T - at % 7 * DAY // 3, c, t, 100 + at, label) for at, (c, t, label) in enumerate(KEYS * 12)]
"""Payments of two days, many of them at the same moment: none too late to be kept."""
HISTORY = [replace(one, id=f"h{one.id}", time=one.time - 7 * DAY) for one in POOL]
some = st.lists(st.sampled_from(POOL), min_size=1, max_size=6)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("score"), st.integers(0, 1), some),
        st.tuples(st.just("ask"), st.integers(0, 1), some),
        st.tuples(st.just("merge"), st.integers(0, 1), some),
    ),
    max_size=12,
)


@pytest.fixture
def project() -> Project:
    return house(f"h{next(_projects)}")


@pytest.fixture
def store(url: str, project: Project) -> Iterator[OnlineStore]:
    store = OnlineStore.open(url, project)
    filled(store, project)
    yield store
    store.close()


def ask(store: OnlineStore, *payments: Payment, add: bool = True) -> LookedUp:
    return store.look_up(*asked(payments), add=add, now_us=NOW)


def expected(payments: Sequence[Payment], known: Iterable[Payment]) -> dict[str, list[list[int]]]:
    return {view.name: [windows(view, one, known) for one in payments] for view in (PAIR, TERMINAL)}


def answer(looked: LookedUp) -> dict[str, list[list[int]]]:
    return {name: looked.values[name].tolist() for name in ("pair", "terminal")}


def scored(one: Payment) -> Payment:
    """The event as a request has it: nobody knows its label."""
    return replace(one, label=0)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_requests_are_answered_as_the_views_are_worded(url: str, steps: list[tuple[str, int, list[Payment]]]) -> None:
    """Events in any order, some twice, by two processes; the lake's events come before, between or after."""
    project = house(f"n{next(_projects)}")
    stores = [OnlineStore.open(url, project) for _ in range(2)]
    filled(stores[0], project, HISTORY)
    known = {one.id: one for one in HISTORY}
    for what, number, payments in steps:
        once = list({one.id: one for one in payments}.values())
        if what == "merge":
            for view in project.live_views:
                stores[number].merge(view, lake_events(view, once).items(), now_us=NOW)
            known |= {one.id: one for one in once}
            continue
        mine = {one.id: scored(one) for one in payments} | known
        looked = ask(stores[number], *payments, add=what == "score")
        assert answer(looked) == expected([scored(one) for one in payments], mine.values())
        assert all(looked.found[view.name].all() for view in project.live_views)
        if what == "score":
            known = mine
    assert [store.unsaved for store in stores] == [(0, 0)] * 2


def test_two_processes_that_update_one_key_at_once_lose_nothing(url: str, project: Project) -> None:
    filled(OnlineStore.open(url, project), project)
    each = 60 if url.startswith(("sqlite", "unix")) else 12
    stores = [OnlineStore.open(url, project) for _ in range(3)]

    def client(number: int, one: Payment) -> None:
        """Asks until there is an answer: on a busy machine a server may be silent for longer than a request waits."""
        while True:
            try:
                ask(stores[number], one)
                return
            except ServiceError:
                time.sleep(0.01)

    def score(number: int) -> None:
        for at in range(each):
            client(number, Payment(f"s{number}-{at}", T + at, "c", "t", 1))
        while stores[number].unsaved[0]:
            client(number, Payment(f"last-{number}", T, f"other-{number}", f"other-{number}"))
        stores[number].close()

    threads = [threading.Thread(target=score, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    looked = ask(OnlineStore.open(url, project), Payment("after", T + SECOND, "c", "t", 1), add=False)
    assert looked.values["pair"].tolist() == [[3 * each + 1, 3 * each + 1, 1]]
    assert [one.unsaved for one in stores] == [(0, 0)] * 3


def test_a_retried_or_mirrored_request_counts_once(store: OnlineStore) -> None:
    one = Payment("e", T)
    for _ in range(3):
        assert ask(store, one, one).values["pair"].tolist() == [[1, 100, 100]] * 2


def test_reading_only_adds_nothing(store: OnlineStore) -> None:
    for _ in range(2):
        assert ask(store, Payment("e", T), Payment("f", T + 1), add=False).values["pair"].tolist() == [
            [1, 100, 100], [2, 200, 100]
        ]  # fmt: skip
    assert ask(store, Payment("g", T + 2)).values["pair"].tolist() == [[1, 100, 100]]


def test_rows_of_which_one_will_happen_are_in_no_windows_but_their_own(store: OnlineStore) -> None:
    before, rows = POOL[0], [replace(POOL[5], id="a"), replace(POOL[5], id="b"), replace(POOL[5], id="c")]
    ask(store, before)
    each = [answer(ask(store, row, add=False)) for row in rows]
    together = answer(store.look_up(*asked(rows), apart=True, now_us=NOW))
    assert together == {view: [one[view][0] for one in each] for view in together}
    assert answer(ask(store, rows[2])) == each[2], "they were stored"
    assert answer(ask(store, *rows[:2], add=False)) != {view: together[view][:2] for view in together}


def test_the_lake_brings_labels_and_what_was_never_scored(store: OnlineStore, project: Project) -> None:
    ask(store, Payment("e", T))
    assert store.merge(TERMINAL, lake_events(TERMINAL, [Payment("e", T, label=1), Payment("f", T)]).items()) == 1
    assert ask(store, Payment("g", T + 7 * DAY)).values["terminal"].tolist() == [[2, 1, 1]]
    again = lake_events(TERMINAL, [Payment("e", T, label=1), Payment("f", T)])
    assert store.merge(TERMINAL, again.items()) == 0  # nothing changed, nothing is written


@pytest.mark.fault("F28")
def test_an_event_hours_ahead_is_answered_and_not_kept(store: OnlineStore) -> None:
    ahead = replace(Payment("ahead", T + 2 * 3_600 * SECOND), amount_cents=7)
    now = {"now_us": T}
    assert store.look_up(*asked([ahead]), **now).values["pair"].tolist() == [[1, 7, 7]]
    assert store.look_up(*asked([Payment("e", T)]), **now).values["pair"].tolist() == [[1, 100, 100]]
    assert store.look_up(*asked([replace(ahead, id="later")]), **now).values["pair"].tolist() == [[2, 7, 100]]


def test_no_event_in_any_window_is_not_found(url: str, project: Project) -> None:
    delayed = replace(TERMINAL, windows=TERMINAL.windows[:2])
    project = replace(project, live_views=(delayed,))
    store = OnlineStore.open(url, project)
    filled(store, project, [Payment("old", T - 7 * DAY)])
    looked = ask(store, Payment("e", T), Payment("f", T + DAY), Payment("g", T, terminal_id="new"))
    assert looked.values["terminal"].tolist() == [[1, 0], [0, 0], [0, 0]]
    assert looked.found["terminal"].tolist() == [True, False, False]
    assert [one["terminal"]["events"] for one in looked.provenance] == [1, 0, 0]


def test_provenance_says_what_the_values_were_read_from(store: OnlineStore) -> None:
    store.write(PROFILE, [(("c",), T - DAY, [1, 2]), (("late",), T + 1, [3, 4]), (("old",), T - 4 * DAY, [5, 6])])
    rows = [Payment(name, T, name) for name in ("c", "late", "old", "nobody")]
    looked = ask(store, *rows, Payment("c2", T + 1, "c"))
    assert looked.values["profile"].tolist() == [[1, 2], [0, 0], [0, 0], [0, 0], [1, 2]]
    assert looked.found["profile"].tolist() == [True, False, False, False, True]
    visible = [one["profile"]["available_at"] for one in looked.provenance]
    assert visible == [T - DAY, None, None, None, T - DAY]
    assert {one["profile"]["schema"] for one in looked.provenance} == {PROFILE.schema}
    mask = 0x7FFFFFFF
    assert [one["pair"] for one in looked.provenance] == [
        *({"schema": PAIR.schema, "events": 1, "checksum": T & mask},) * 4,
        {"schema": PAIR.schema, "events": 2, "checksum": (T & mask) + (T + 1 & mask)},
    ]


def test_a_reader_of_another_layout_is_refused(url: str, store: OnlineStore, project: Project) -> None:
    shorter = replace(PAIR, windows=PAIR.windows[:2])
    changed = replace(project, live_views=(shorter, TERMINAL))
    other = OnlineStore.open(url, changed)
    with pytest.raises(SpecError, match=f"view pair has layout {PAIR.schema}, not {shorter.schema}.*tidemill features"):
        ask(other, Payment("e", T))
    other.merge(shorter, [])
    assert ask(other, Payment("e", T)).values["pair"].tolist() == [[1, 100]]
    with pytest.raises(SpecError, match=f"view pair has layout {shorter.schema}, not {PAIR.schema}"):
        ask(store, Payment("e", T))


def test_a_view_is_not_served_before_it_is_complete(url: str, project: Project) -> None:
    store = OnlineStore.open(url, project)
    filled(store, replace(project, live_views=(PAIR,)))
    with pytest.raises(
        ServiceError, match=f"does not hold all of terminal.*tidemill features --project {project.name}"
    ):
        ask(store, Payment("e", T))

    def parts() -> Iterator[Part]:
        for name in ("t", "u"):
            ((key, events),) = lake_events(TERMINAL, [Payment("old", T - 7 * DAY, terminal_id=name)]).items()
            yield Part(keys=[key], starts=np.array([0]), sorted=events)
            with pytest.raises(ServiceError, match="does not hold all of terminal"):
                ask(store, Payment("f", T))

    assert store.pack(TERMINAL, parts(), now_us=NOW) == 2
    looked = ask(store, Payment("g", T))
    assert looked.values["terminal"].tolist() == [[1, 0, 1]]
    assert looked.values["pair"].tolist() == [[3, 300, 100]]  # e and f were kept when they could not be answered
    assert store.unsaved == (0, 0)


@pytest.mark.fault("F66")
def test_redis_away_or_flushed_degrades_until_it_is_filled_again(redis: RedisServer, project: Project) -> None:
    history = [Payment(f"h{at}", T - at * DAY, "c", "t", at, at % 2) for at in range(9)]
    store = OnlineStore.open(redis.url, project)
    filled(store, project, history)
    before = answer(ask(store, Payment("ask", T + 1), add=False))
    redis.stop()
    try:
        for _ in range(2):
            with pytest.raises(ServiceError, match="does not answer"):
                ask(store, Payment("away", T - 1))
        store.keep(*asked([Payment("resting", T - 1)]))
        assert store.unsaved == (4, 0)
    finally:
        redis.start()
    with pytest.raises(ServiceError, match="does not hold all of"):
        ask(store, Payment("empty", T - 1))
    filled(store, project, history)
    assert answer(ask(OnlineStore.open(redis.url, project), Payment("ask", T + 1), add=False)) == before
    kept = [Payment(name, T - 1) for name in ("away", "resting", "empty")]
    one = Payment("again", T + 1)
    assert answer(ask(store, one)) == expected([one], [*map(scored, kept), *history])
    assert store.unsaved == (0, 0)
    redis.client().flushall()
    with pytest.raises(ServiceError, match="does not hold all of"):
        ask(store, one)


def test_the_redis_of_this_machine_does_as_well(project: Project) -> None:
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("no redis-server is installed on this machine; the packaged one is tested above")
    with redis_server(binary) as server:
        store = OnlineStore.open(server.url, project)
        filled(store, project, HISTORY)
        for at in (5, -3, 7):
            store.write(PROFILE, [(("c",), T + at, [at, at])])
        assert store.read(PROFILE, [("c",)], [T + 7])[0].tolist() == [[7, 7]]
        looked = ask(store, *map(scored, POOL))
        assert answer(looked) == expected(list(map(scored, POOL)), [*map(scored, POOL), *HISTORY])


def test_a_locked_store_still_answers_and_keeps_what_it_cannot_store(tmp_path: Path, project: Project) -> None:
    url = f"sqlite:///{tmp_path}"
    store = OnlineStore.open(url, project)
    filled(store, project)
    with sqlite3.connect(tmp_path / f"{project.name}.sqlite", isolation_level=None) as other:
        other.execute("begin immediate")
        started = time.monotonic()
        assert ask(store, Payment("e", T)).values["pair"].tolist() == [[1, 100, 100]]
        assert time.monotonic() - started < 1
        assert ask(store, Payment("e", T)).values["pair"].tolist() == [[1, 100, 100]]
        assert ask(store, Payment("f", T + 1)).values["pair"].tolist() == [[2, 200, 100]]
        assert store.unsaved == (4, 0)
        other.execute("rollback")
    ask(store, Payment("g", T, "somebody", "else"))
    assert store.unsaved == (0, 0)
    assert ask(OnlineStore.open(url, project), Payment("h", T + 2)).values["pair"].tolist() == [[3, 300, 100]]


def test_what_another_process_stored_meanwhile_no_longer_waits(tmp_path: Path, project: Project) -> None:
    """The client was answered by the one process, asked the other again, and that one could store it."""
    stores = [OnlineStore.open(f"sqlite:///{tmp_path}", project) for _ in range(2)]
    filled(stores[0], project)
    with sqlite3.connect(tmp_path / f"{project.name}.sqlite", isolation_level=None) as other:
        other.execute("begin immediate")
        ask(stores[0], Payment("e", T))
        other.execute("rollback")
    assert stores[0].unsaved == (2, 0)
    ask(stores[1], Payment("e", T))
    ask(stores[0], Payment("f", T, "somebody", "else"))
    assert stores[0].unsaved == (0, 0)
    assert ask(stores[0], Payment("g", T + 1)).values["pair"].tolist() == [[2, 200, 100]]


def test_what_waits_in_memory_is_bounded_and_what_is_dropped_is_counted(
    tmp_path: Path, project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(unsaved, "BOUND", 10)
    store = OnlineStore.open(f"sqlite:///{tmp_path}", project)
    for number in range(20):
        with pytest.raises(ServiceError):
            ask(store, Payment(f"e{number}", T + number, "c", f"t{number}"))
    assert store.unsaved == (10, 30)
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    filled(store, project)
    ask(store, Payment("g", T))
    assert store.unsaved == (0, 30)
    assert ask(store, Payment("h", T + SECOND, "c", "t19")).values["pair"].tolist() == [[2, 200, 100]]


def test_requests_get_their_turn_beside_a_bulk_write(tmp_path: Path, project: Project) -> None:
    url = f"sqlite:///{tmp_path}"
    filled(OnlineStore.open(url, project), project)
    rows = [((f"c{number}",), T, [number, 0]) for number in range(20_000)]
    bulk = threading.Thread(target=lambda: OnlineStore.open(url, project).write(PROFILE, rows))
    bulk.start()
    store, number, waited = OnlineStore.open(url, project), 0, 0
    while bulk.is_alive() or number < 50:
        assert ask(store, Payment(f"e{number}", T + number)).values["pair"].tolist()[0][0] == number + 1
        number += 1
        waited += store.unsaved[0] > 0
    assert waited <= number / 10  # none, but on a machine that stops the writer while it holds the lock
    ask(store, Payment("last", T))
    assert store.unsaved == (0, 0)
    assert store.read(PROFILE, [("c19999",)], [T])[0].tolist() == [[19_999, 0]]


def test_a_removed_file_is_noticed_and_a_new_one_is_followed(tmp_path: Path, project: Project) -> None:
    url = f"sqlite:///{tmp_path}"
    store = OnlineStore.open(url, project)
    filled(store, project)
    ask(store, Payment("e", T))
    for file in tmp_path.iterdir():
        file.unlink()
    with pytest.raises(ServiceError, match="does not hold all of"):
        ask(store, Payment("f", T + 1))
    assert not list(tmp_path.iterdir())  # a request makes no store
    filled(OnlineStore.open(url, project), project)
    assert ask(store, Payment("g", T + 2)).values["pair"].tolist() == [[2, 200, 100]]


def test_no_rows_are_no_answers(store: OnlineStore) -> None:
    looked = store.look_up(*asked([]))
    assert {name: values.shape for name, values in looked.values.items()} == {
        "profile": (0, 2), "pair": (0, 3), "terminal": (0, 3)
    }  # fmt: skip


def test_keys_far_apart_are_packed_as_they_are_merged(url: str) -> None:
    """Bulk packing and merging event by event come to the same answers."""
    packed, merged = (house(f"k{next(_projects)}") for _ in range(2))
    stores = [OnlineStore.open(url, project) for project in (packed, merged)]
    for store, project in zip(stores, (packed, merged), strict=True):
        filled(store, replace(project, live_views=()))
    both = [*POOL, *HISTORY]
    for view in packed.live_views:
        ordered = sorted(both, key=lambda one: (tuple(getattr(one, key) for key in view.entity), one.time, one.id))
        keyed = lake_events(view, ordered)
        starts, at = [], 0
        for events in keyed.values():
            starts.append(at)
            at += len(events)
        part = Part(keys=list(keyed), starts=np.array(starts), sorted=Events.concat(list(keyed.values())))
        assert stores[0].pack(view, [part], now_us=NOW) == len(keyed)
        assert stores[1].merge(view, keyed.items(), now_us=NOW) == len(keyed)
    rows = [Payment(f"new{at}", T + at * timedelta(hours=5).seconds * SECOND, "c", "t") for at in range(20)]
    assert answer(ask(stores[0], *rows)) == answer(ask(stores[1], *rows)) == expected(rows, [*both, *rows])
