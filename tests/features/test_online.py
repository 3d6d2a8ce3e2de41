"""The online store's values by key: what is read back, what is refused, and what is a single round trip."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.errors import ServiceError, SettingError, SpecError
from jobs.features.online import OnlineStore
from jobs.projects.fraud.spec import CUSTOMER_PROFILE, FRAUD
from jobs.spec import FeatureView
from tests.features.stores import NOW, PROFILE, Payment, RedisServer, T, asked, filled, house

VIEW = FeatureView(name="pair", entity=("a", "b"), features=("x", "y"), lookback_days=1, ttl=timedelta(seconds=10))
TTL = 10_000_000
_projects = count()
on_each = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
any_text = st.text(st.characters(codec=None), max_size=4)
awkward = st.sampled_from(["", "|", "%", "%|", "a|b", "%007c", "\0", "\ud800", "\u00e9", "e\u0301", "😀", "a", "A", ":", "x" * 1_500])  # fmt: skip
keys = st.tuples(st.one_of(any_text, awkward), st.one_of(any_text, awkward))


@pytest.fixture
def store(url: str) -> Iterator[OnlineStore]:
    store = OnlineStore.open(url, FRAUD)
    yield store
    store.close()


def another(url: str) -> OnlineStore:
    """A store that no other test or example has written to."""
    return OnlineStore.open(url, house(f"p{next(_projects)}"))


@contextmanager
def calls(url: str, request: pytest.FixtureRequest) -> Iterator[Callable[[], int]]:
    """How often the store has been asked since, counted at its own door."""
    seen: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        if url.startswith("sqlite"):
            connect = sqlite3.connect

            def traced(*given: Any, **options: Any) -> sqlite3.Connection:
                connection = connect(*given, **options)
                connection.set_trace_callback(lambda sql: seen.append(sql) if "select" in sql else None)
                return connection

            patch.setattr(sqlite3, "connect", traced)
            yield lambda: len(seen)
        elif url.startswith("unix"):
            client = request.getfixturevalue("redis").client()
            client.config_resetstat()
            yield lambda: sum(
                one["calls"]
                for name, one in client.info("commandstats").items()
                if name.split("_")[1] in {"mget", "get", "evalsha"}
            )
        else:
            from botocore.client import BaseClient

            call = BaseClient._make_api_call  # type: ignore[attr-defined]

            def counted(self: Any, name: str, given: Any) -> Any:
                seen.append(name)
                return call(self, name, given)

            patch.setattr(BaseClient, "_make_api_call", counted)
            yield lambda: len(seen)


def test_a_store_that_was_never_written_finds_nothing(url: str) -> None:
    store = OnlineStore.open(url, FRAUD)
    if url.startswith("dynamodb"):
        with pytest.raises(ServiceError, match="aws dynamodb create-table"):
            store.read(VIEW, [("a", "b")], [T])
    else:
        values, found = store.read(VIEW, [("a", "b"), ("c", "d")], [T, T])
        assert not found.any()
        assert values.tolist() == [[0, 0], [0, 0]]
        assert not url.startswith("sqlite") or not list(Path(url[10:]).glob("*"))  # asking makes no file
    store.write(CUSTOMER_PROFILE, [(("c",), T, range(6))])
    assert not store.read(VIEW, [("a", "b")], [T])[1].any()
    assert store.read(VIEW, [], [])[0].shape == (0, 2)


def test_values_are_read_back_in_the_order_asked(store: OnlineStore) -> None:
    extreme = 2**63 - 1
    rows = [(("a", "b"), T, [1, -extreme]), (("a", 'b", "'), T, [2, extreme]), (("a, b", ""), T, [3, 0])]
    assert store.write(VIEW, rows) == 3
    asked = [("a, b", ""), ("nobody", "b"), ("a", "b"), ("a", 'b", "'), ("a", "b")]
    values, found = store.read(VIEW, asked, [T] * 5)
    assert values.tolist() == [[3, 0], [0, 0], [1, -extreme], [2, extreme], [1, -extreme]]
    assert found.tolist() == [True, False, True, True, True]
    for key, row in zip(asked, values, strict=True):
        assert store.read(VIEW, [key], [T])[0].tolist() == [row.tolist()]


@pytest.mark.parametrize(("after", "found"), [(-1, False), (0, True), (TTL - 1, True), (TTL, False)])
def test_a_value_is_found_from_its_available_at_until_its_ttl(store: OnlineStore, after: int, found: bool) -> None:
    store.write(VIEW, [(("a", "b"), T, [1, 2])])
    assert store.read(VIEW, [("a", "b")], [T + after])[1].tolist() == [found]


@pytest.mark.fault("F27")
def test_a_value_never_goes_back_in_time(store: OnlineStore) -> None:
    store.write(VIEW, [(("a", "b"), T, [1, 1])])
    assert store.write(VIEW, [(("a", "b"), T - 1, [0, 0])]) == 0
    assert store.read(VIEW, [("a", "b")], [T])[0].tolist() == [[1, 1]]
    assert store.write(VIEW, [(("a", "b"), T, [2, 2])]) == 1  # the same batch, made again from more events
    assert store.read(VIEW, [("a", "b")], [T])[0].tolist() == [[2, 2]]


@pytest.mark.fault("F27")
@on_each
@given(writes=st.lists(st.tuples(st.integers(0, 2), st.integers(-5, 5) | st.integers(-(2**62), 2**62)), max_size=12))
def test_the_newest_value_is_kept_in_whatever_order_values_are_written(url: str, writes: list[tuple[int, int]]) -> None:
    store, view = another(url), replace(VIEW, ttl=timedelta(days=999_999_999))
    newest: dict[int, int] = {}
    for key, at in writes:
        written = store.write(view, [((str(key), ""), at, [at, key])])
        assert written == (at >= newest.get(key, at))
        newest[key] = max(at, newest.get(key, at))
    for key, at in newest.items():
        values, found = store.read(view, [(str(key), "")], [at])
        assert (values.tolist(), found.tolist()) == ([[at, key]], [True])


@pytest.mark.fault("F36")
@on_each
@given(written=st.lists(keys, unique=True, min_size=1, max_size=12), strange=keys)
def test_no_two_keys_are_one(url: str, written: list[tuple[str, str]], strange: tuple[str, str]) -> None:
    store = another(url)
    assert store.write(VIEW, [(key, T, [at, 0]) for at, key in enumerate(written)]) == len(written)
    values, found = store.read(VIEW, [*written, strange], [T] * (len(written) + 1))
    assert found[:-1].all()
    assert values[:-1, 0].tolist() == list(range(len(written)))
    assert found[-1] == (strange in written)


def test_keys_of_a_single_column_are_as_safe(store: OnlineStore) -> None:
    view = replace(VIEW, entity=("a",))
    names = [
        "a",
        "a|",
        "%",
        "%007c",
        "|",
        "\0",
        "",
        "\u00e9",
        "e\u0301",
        "😀",
        "\ud800",
        "x" * 999,
        "x" * 5_000,
        "é" * 400,
        "7",
    ]
    store.write(view, [((name,), T, [at, 0]) for at, name in enumerate(names)])
    assert store.read(view, [(name,) for name in names], [T] * len(names))[0][:, 0].tolist() == list(range(len(names)))
    assert store.read(view, [(7,)], [T])[0].tolist() == [[14, 0]]  # type: ignore[list-item] # a number is its digits
    assert not store.read(view, [("x" * 998,), ("x" * 5_001,)], [T, T])[1].any()


def test_a_reader_refuses_values_of_another_layout(store: OnlineStore) -> None:
    other = replace(VIEW, features=("y", "x"))
    store.write(other, [(("a", "b"), T, [1, 2])])
    with pytest.raises(SpecError, match=rf"pair .* has layout {other.schema}, not {VIEW.schema}.*tidemill features"):
        store.read(VIEW, [("a", "b")], [T])


def test_a_new_layout_replaces_every_old_value(store: OnlineStore) -> None:
    kept = replace(VIEW, name="pairs")
    for view in (VIEW, kept):
        store.write(view, [(("a", "b"), T, [1, 2]), (("old", "b"), T, [1, 2])])
    store.mark(VIEW, "what they were made from")
    assert store.materialized(VIEW) == "what they were made from"
    wider = replace(VIEW, features=("x", "y", "z"))
    assert store.materialized(wider) is None
    store.write(wider, [(("a", "b"), T - 5, [1, 2, 3])])
    values, found = store.read(wider, [("a", "b"), ("old", "b")], [T, T])
    assert values.tolist() == [[1, 2, 3], [0, 0, 0]]
    assert found.tolist() == [True, False]
    assert store.read(kept, [("a", "b"), ("old", "b")], [T, T])[1].all()
    assert store.materialized(VIEW) is None


@pytest.mark.parametrize("entities", [1, 100])
def test_entities_are_read_in_one_round_trip(url: str, entities: int, request: pytest.FixtureRequest) -> None:
    store = OnlineStore.open(url, house())
    wanted = [(f"c{at}",) for at in range(entities)]
    store.write(PROFILE, [(key, T, [at, 0]) for at, key in enumerate(wanted)])
    with calls(url, request) as made:
        fresh = OnlineStore.open(url, house())
        values, found = fresh.read(PROFILE, wanted, [T] * entities)
        assert made() == 1
    assert found.all()
    assert values[:, 0].tolist() == list(range(entities))


@pytest.mark.parametrize("rows", [1, 24])
def test_a_request_is_one_read_of_every_view_and_one_write(url: str, rows: int, request: pytest.FixtureRequest) -> None:
    first = OnlineStore.open(url, house())
    filled(first, house())
    first.look_up(*asked([Payment("first", T)]), now_us=NOW)  # Redis asks for a script's text once
    with calls(url, request) as made:
        store = OnlineStore.open(url, house())
        payments = [Payment(f"e{at}", T + at, f"c{at}", f"t{at}") for at in range(rows)]
        looked = store.look_up(*asked(payments), add=False, now_us=NOW)
        assert made() == 1
        assert set(looked.values) == {"profile", "pair", "terminal"}
        store.look_up(*asked(payments), now_us=NOW)
        writes = {"sqlite": 0, "unix": 1, "dynamodb": 2 * rows}[
            url.partition(":")[0]
        ]  # of SQLite only reads are counted
        assert made() == 2 + writes


def test_threads_read_while_another_writes(url: str) -> None:
    store = OnlineStore.open(url, FRAUD)
    store.write(VIEW, [((str(i), "b"), T, [i, 0]) for i in range(50)])
    seen: list[bool] = []
    rounds = 20 if url.startswith(("sqlite", "unix")) else 5

    def reads() -> None:
        wanted = [(str(i), "b") for i in range(50)]
        for _ in range(rounds):
            values, found = store.read(VIEW, wanted, [T + 5] * 50)
            seen.append(bool(found.all()) and np.array_equal(values[:, 0], np.arange(50)))
        store.close()

    readers = [threading.Thread(target=reads) for _ in range(3)]
    for reader in readers:
        reader.start()
    for version in range(1, 6):
        store.write(VIEW, [((str(i), "b"), T + version, [i, version]) for i in range(50)])
    for reader in readers:
        reader.join()
    assert seen == [True] * 3 * rounds
    assert (store.read(VIEW, [("7", "b")], [T + 5])[0] == [[7, 5]]).all()


def test_writers_who_make_the_store_at_once_all_write(tmp_path: Path) -> None:
    together = threading.Barrier(4)

    def write(folder: Path, key: str) -> int:
        together.wait()
        return OnlineStore.open(f"sqlite:///{folder}", FRAUD).write(VIEW, [((key, "b"), T, [1, 0])])

    for number in range(10):
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(write, [tmp_path / str(number)] * 4, "cdef")) == [1, 1, 1, 1]


def test_a_file_that_is_not_a_store_is_a_service_error(tmp_path: Path) -> None:
    (tmp_path / "fraud.sqlite").write_bytes(b"not a database, for sure" * 100)
    store = OnlineStore.open(f"sqlite:///{tmp_path}", FRAUD)
    with pytest.raises(ServiceError, match=r"fraud\.sqlite does not answer.*tidemill doctor"):
        store.read(VIEW, [("a", "b")], [T])
    with pytest.raises(ServiceError, match=r"fraud\.sqlite"):
        store.write(VIEW, [])


def test_a_file_of_an_earlier_form_is_filled_anew(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "fraud.sqlite") as old:
        old.execute("create table customer (key text primary key, available_at integer, layout text, data blob)")
        old.execute("create table materialized (view text primary key, digest text)")
    store = OnlineStore.open(f"sqlite:///{tmp_path}", FRAUD)
    assert store.write(VIEW, [(("a", "b"), T, [1, 2])]) == 1
    assert store.read(VIEW, [("a", "b")], [T])[1].all()


def test_a_reader_follows_a_file_that_is_replaced_or_removed(tmp_path: Path) -> None:
    first, second = (OnlineStore.open(f"sqlite:///{tmp_path / name}", FRAUD) for name in ("one", "two"))
    for number, store in ((1, first), (2, second)):
        store.write(VIEW, [(("a", "b"), T, [number, 0])])
    second.close()
    assert first.read(VIEW, [("a", "b")], [T])[0].tolist() == [[1, 0]]
    for end in ("", "-wal", "-shm"):
        for folder in ("one", "two"):
            if end or folder == "one":
                (tmp_path / folder / f"fraud.sqlite{end}").unlink(missing_ok=True)
    assert not first.read(VIEW, [("a", "b")], [T])[1].any()
    (tmp_path / "two" / "fraud.sqlite").replace(tmp_path / "one" / "fraud.sqlite")
    assert first.read(VIEW, [("a", "b")], [T])[0].tolist() == [[2, 0]]


@pytest.mark.fault("F66")
def test_redis_that_is_away_is_a_service_error_until_it_is_back(redis: RedisServer) -> None:
    store = OnlineStore.open(redis.url, FRAUD)
    store.write(VIEW, [(("a", "b"), T, [1, 2])])
    redis.stop()
    try:
        with pytest.raises(ServiceError, match=r"Redis at .*redis\.sock, does not answer.*tidemill doctor"):
            store.read(VIEW, [("a", "b")], [T])
    finally:
        redis.start()
    assert not store.read(VIEW, [("a", "b")], [T])[1].any()


def test_a_service_that_is_not_there_is_a_service_error() -> None:
    for url in ("redis://:secret@127.0.0.1:1/0", "dynamodb://t?region=eu-central-1&endpoint=http://127.0.0.1:1"):
        store = OnlineStore.open(url, FRAUD)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
            with pytest.raises(ServiceError, match="does not answer") as raised:
                store.look_up(*asked([Payment("e", T)]))
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "memcached://127.0.0.1",
        "sqlite://relative",
        "sqlite:///",
        "redis://",
        "redis://127.0.0.1:many",
        "redis://127.0.0.1?socket_timeout=long",
        "dynamodb://",
        "dynamodb://table/and/more",
        "dynamodb://table?regoin=eu-central-1",
        "dynamodb://table?region=eu-central-1&endpoint=127.0.0.1",
        "",
        "postgresql://someone:secret@127.0.0.1/online",
    ],
)
def test_another_kind_of_store_is_a_setting_error(url: str) -> None:
    with pytest.raises(
        SettingError, match=r"TIDEMILL_ONLINE_STORE_URL.*sqlite:///FOLDER.*redis://.*dynamodb://"
    ) as raised:
        OnlineStore.open(url, FRAUD)
    assert "secret" not in str(raised.value)
