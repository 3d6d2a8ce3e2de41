"""The online store: what is read back, and what is refused."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from jobs.errors import ServiceError, SettingError, SpecError
from jobs.features.online import OnlineStore
from jobs.projects.fraud.spec import CUSTOMER, FRAUD
from jobs.settings import Settings
from jobs.spec import FeatureView

VIEW = FeatureView(name="pair", entity=("a", "b"), features=("x", "y"), lookback_days=1, ttl=timedelta(seconds=10))
T = 1_767_225_600_000_000
TTL = 10_000_000


@pytest.fixture
def store(settings: Settings) -> OnlineStore:
    return OnlineStore.open(settings.online_store_url, FRAUD)


def test_a_store_without_a_file_or_a_table_finds_nothing(store: OnlineStore) -> None:
    values, found = store.read(VIEW, [("a", "b"), ("c", "d")], [T, T])
    assert not found.any()
    assert values.tolist() == [[0, 0], [0, 0]]
    assert not store.path.exists()
    store.write(CUSTOMER, [(("c",), T, range(6))])
    assert not store.read(VIEW, [("a", "b")], [T])[1].any()


def test_values_are_read_back_in_the_order_asked(store: OnlineStore) -> None:
    extreme = 2**63 - 1
    rows = [(("a", "b"), T, [1, -extreme]), (("a", 'b", "'), T, [2, extreme]), (("a, b", ""), T, [3, 0])]
    assert store.write(VIEW, rows) == 3
    keys = [("a, b", ""), ("nobody", "b"), ("a", "b"), ("a", 'b", "'), ("a", "b")]
    values, found = store.read(VIEW, keys, [T] * 5)
    assert values.tolist() == [[3, 0], [0, 0], [1, -extreme], [2, extreme], [1, -extreme]]
    assert found.tolist() == [True, False, True, True, True]
    for key, row in zip(keys, values, strict=True):
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


def test_a_reader_refuses_values_of_another_layout(store: OnlineStore) -> None:
    store.write(replace(VIEW, features=("y", "x")), [(("a", "b"), T, [1, 2])])
    with pytest.raises(SpecError, match=r"pair .* has layout"):
        store.read(VIEW, [("a", "b")], [T])


def test_a_new_layout_replaces_every_old_value(store: OnlineStore) -> None:
    store.write(VIEW, [(("a", "b"), T, [1, 2]), (("old", "b"), T, [1, 2])])
    wider = replace(VIEW, features=("x", "y", "z"))
    store.write(wider, [(("a", "b"), T - 5, [1, 2, 3])])
    values, found = store.read(wider, [("a", "b"), ("old", "b")], [T, T])
    assert values.tolist() == [[1, 2, 3], [0, 0, 0]]
    assert found.tolist() == [True, False]


def test_a_file_that_is_not_a_store_is_a_service_error(store: OnlineStore) -> None:
    store.path.parent.mkdir(parents=True)
    store.path.write_bytes(b"not a database, for sure" * 100)
    with pytest.raises(ServiceError, match=r"fraud\.sqlite"):
        store.read(VIEW, [("a", "b")], [T])


def test_threads_read_while_another_writes(store: OnlineStore) -> None:
    store.write(VIEW, [((str(i), "b"), T, [i, 0]) for i in range(50)])
    seen: list[bool] = []

    def reads() -> None:
        keys = [(str(i), "b") for i in range(50)]
        for _ in range(20):
            values, found = store.read(VIEW, keys, [T + 5] * 50)
            seen.append(
                bool(found.all()) and np.array_equal(values[:, 0], np.arange(50)) and len(set(values[:, 1])) == 1
            )
        store.close()

    readers = [threading.Thread(target=reads) for _ in range(3)]
    for reader in readers:
        reader.start()
    for version in range(1, 6):
        store.write(VIEW, [((str(i), "b"), T + version, [i, version]) for i in range(50)])
    for reader in readers:
        reader.join()
    assert seen == [True] * 60


def test_another_kind_of_store_is_a_setting_error() -> None:
    with pytest.raises(SettingError, match="sqlite:///"):
        OnlineStore.open("redis://127.0.0.1", FRAUD)
