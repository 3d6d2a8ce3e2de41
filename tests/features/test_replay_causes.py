"""Replay says why a value differs from the lake's: each fault is injected into a real store, lake or log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from jobs.features.replay.outcome import outcome
from jobs.release.bundle import contract_of
from jobs.settings import Settings
from tests.features.morning import morning, sales
from tests.features.shop import DAY, INPUTS, NOON, Sale, Shop


@pytest.fixture
def shop(settings: Settings) -> Iterator[Shop]:
    with morning(settings) as shop:
        yield shop


def causes(shop: Shop, tmp_path: Path) -> dict[str, int]:
    found: dict[str, int] = outcome(shop.replay(tmp_path), 0.999)["causes"]
    return found


def test_an_older_batch_online_is_stale(shop: Shop, tmp_path: Path) -> None:
    shop.profile(DAY, {"c-0": [0, 0, 7, 9_000, 9, 9_999], "c-1": [0, 0, 7, 9_000, 9, 9_999]})  # never materialized
    tomorrow = NOON + timedelta(days=1)
    shop.answer(Sale("s-1", tomorrow, "c-0"), Sale("s-2", tomorrow, "c-1"))
    found = outcome(shop.replay(tmp_path), 0.999)
    assert found["causes"] == {"stale": 2}
    assert found["inputs"]["profile_count_7d"]["causes"] == {"stale": 2}
    assert found["inputs"]["customer_mean_7d"]["causes"] == {}
    assert found["verdict"] == "skewed"
    example = found["examples"][0]
    assert (example["cause"], example["event_id"], example["input"]) == ("stale", "s-1", "profile_count_7d")
    assert (example["served"], example["offline"]) == (2.0, 7.0)
    served, offline = example["read"]["customer_profile"]["available_at"]
    assert offline - served == 86_400_000_000


@pytest.mark.parametrize("view", ["customer", "customer_profile"])
def test_a_key_that_is_not_online_is_missing(shop: Shop, tmp_path: Path, view: str) -> None:
    shop.forget(view, "c-0")
    shop.answer(Sale("s-1", NOON, "c-0"), Sale("s-2", NOON, "c-1"))
    found = outcome(shop.replay(tmp_path), 0.999)
    assert found["causes"] == {"missing key": 1}
    assert {one["event_id"] for one in found["examples"]} == {"s-1"}


def test_an_answer_without_the_store_misses_what_the_lake_has(shop: Shop, tmp_path: Path) -> None:
    shop.log(Sale("s-1", NOON, "c-0"), [10.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], {}, degraded=True)
    shop.log(Sale("s-2", NOON, "c-0"), [10.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], None, degraded=True)
    assert causes(shop, tmp_path) == {"missing key": 2}


def test_an_event_that_only_the_lake_was_told_of_is_late(shop: Shop, tmp_path: Path) -> None:
    yesterday = DAY - timedelta(days=1)
    shop.answer(Sale("s-1", NOON, "c-0"), Sale("s-2", NOON, "c-1"))
    late = Sale("late", NOON - timedelta(days=1), "c-1")
    shop.deliver(yesterday, [*shop.sold(yesterday), late], delivered={"late": DAY})
    found = outcome(shop.replay(tmp_path), 0.999)
    assert found["causes"] == {"late event": 1}
    assert found["inputs"]["customer_mean_7d"]["causes"] == {"late event": 1}
    assert {one["event_id"] for one in found["examples"]} == {"s-2"}
    served, offline = found["examples"][0]["read"]["customer"]["events"]
    assert offline == served + 1


def test_an_event_that_was_scored_after_is_late(shop: Shop, tmp_path: Path) -> None:
    shop.answer(Sale("s-2", NOON, "c-0"))
    shop.answer(Sale("s-1", NOON, "c-0"))  # the same microsecond, and its id comes first
    shop.answer(Sale("s-3", NOON - timedelta(hours=1), "c-0"))
    found = outcome(shop.replay(tmp_path), 0.999)
    assert (found["identical"], found["causes"]) == (1, {"late event": 2})


def test_a_new_customer_whose_first_event_came_late_did_not_lose_its_key(shop: Shop, tmp_path: Path) -> None:
    shop.answer(Sale("s-2", NOON, "new"))
    shop.answer(Sale("s-1", NOON - timedelta(minutes=1), "new"))
    shop.answer(Sale("s-4", NOON, "newer"))
    yesterday = DAY - timedelta(days=1)
    first = Sale("first", NOON - timedelta(days=1), "newer", cents=77)
    shop.deliver(yesterday, [*shop.sold(yesterday), first], delivered={"first": DAY})
    assert causes(shop, tmp_path) == {"late event": 2}


def test_a_state_that_lacks_what_was_delivered_in_time_is_stale(shop: Shop, tmp_path: Path) -> None:
    yesterday = DAY - timedelta(days=1)
    extra = Sale("extra", NOON - timedelta(hours=20), "c-0", cents=77)
    every = [*shop.sold(yesterday), extra]
    shop.deliver(yesterday, every, delivered={sale.id: yesterday for sale in every})  # never materialized
    shop.answer(Sale("s-1", NOON, "c-0"))
    assert causes(shop, tmp_path) == {"stale": 1}


@pytest.mark.parametrize("cents", [[1_001, 1_003, 1_006], [333, 334]])
def test_a_vector_that_went_through_32_bits_is_cast(shop: Shop, tmp_path: Path, cents: list[int]) -> None:
    for number, one in enumerate(cents):
        shop.answer(Sale(f"s-{number}", NOON + timedelta(seconds=number), "c-0", cents=one))
    for record in shop.records:
        record["vector"] = json.dumps([float(np.float32(one)) for one in json.loads(record["vector"])])
    found = outcome(shop.replay(tmp_path), 0.999)
    assert found["causes"] == {"cast": len(cents)}
    assert found["inputs"]["terminal_risk_30d"]["causes"] in ({}, {"cast": len(cents)})


def test_a_mean_that_was_cut_to_a_whole_number_is_cast(shop: Shop, tmp_path: Path) -> None:
    shop.answer(Sale("s-0", NOON, "c-0", cents=1_001))
    place = shop.project.models[-1].inputs.index("customer_mean_7d")
    shop.perturb(0, place, float(int(json.loads(shop.records[0]["vector"])[place])))
    assert causes(shop, tmp_path) == {"cast": 1}


def test_another_schema_in_the_log_is_another_definition(shop: Shop, tmp_path: Path) -> None:
    for sale in sales(0, 1, 2, 3):
        shop.answer(sale)
    for number, view in enumerate(("customer", "customer_profile", "terminal")):
        read = json.loads(shop.records[number]["provenance"])
        if view == "terminal":
            del read[view]  # logged before the view was declared
        else:
            read[view]["schema"] = "0123456789abcdef"
        shop.records[number]["provenance"] = json.dumps(read)
    shop.perturb(0, INPUTS.index("customer_mean_7d"), 1.5)
    shop.perturb(1, INPUTS.index("profile_mean_30d"), 1.5)
    shop.perturb(2, INPUTS.index("terminal_risk_30d"), 1.5)
    found = outcome(shop.replay(tmp_path), 0.999)
    assert found["causes"] == {"definition changed": 3}
    assert found["identical"] == 1, "a value that is the same under another definition is the same"


@pytest.mark.parametrize("change", ["request_transform", "inputs", "lag"])
def test_a_release_made_for_something_else_is_another_definition(shop: Shop, tmp_path: Path, change: str) -> None:
    shop.answer(Sale("s-0", NOON, "c-0"))
    shop.answer(Sale("s-1", NOON + timedelta(seconds=1), "c-0"), release="r-0000000000ff")
    inputs = (
        ["profile_mean_30d", *(name for name in INPUTS if name != "profile_mean_30d")]
        if change == "inputs"
        else list(INPUTS)
    )
    contract = contract_of(shop.project)
    if change == "request_transform":
        contract["request_transform"] = "another"
    elif change == "lag":
        contract["views"]["customer_profile"]["lag_us"] = 1
    folder = shop.lake.release(shop.project.name, "r-0000000000ff")
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"contract": contract, "models": [{"inputs": inputs}]}))
    for number in range(2):
        shop.perturb(number, INPUTS.index("profile_mean_30d"), 77.5)
    assert causes(shop, tmp_path) == {"definition changed": 1, "unknown": 1}


def test_a_vector_of_another_length_is_another_definition(shop: Shop, tmp_path: Path) -> None:
    shop.answer(*sales(0, 1))
    shop.records[0]["vector"] = json.dumps(json.loads(shop.records[0]["vector"])[:-1])
    found = outcome(shop.replay(tmp_path), 0.999)
    assert found["causes"] == {"definition changed": 1}
    assert found["examples"][0]["served"] == "6 inputs were logged"


def test_a_value_changed_for_no_reason_is_unknown(shop: Shop, tmp_path: Path) -> None:
    factors = (1.37, -1.0, 1e9)
    for sale in sales(*range(len(INPUTS) * len(factors))):
        shop.answer(sale)
    for number in range(len(shop.records)):
        place = number % len(INPUTS)
        value = json.loads(shop.records[number]["vector"])[place]
        shop.perturb(number, place, (value or 0.123456) * factors[number // len(INPUTS)])
    found = outcome(shop.replay(tmp_path), 0.999)
    assert found["causes"] == {"unknown": len(shop.records)}
    assert all(one["causes"] == {"unknown": len(factors)} for one in found["inputs"].values())
    assert found["verdict"] == "skewed"


def test_what_an_older_log_does_not_explain_is_unknown(shop: Shop, tmp_path: Path) -> None:
    for sale in sales(0, 1):
        shop.answer(sale, traced=False)
    shop.perturb(1, 0, float(np.float32(10.1)))
    found = outcome(shop.replay(tmp_path), 0.999)
    assert (found["identical"], found["causes"]) == (1, {"unknown": 1})
    assert found["examples"][0]["read"] == {}


def test_a_label_that_was_corrected_after_the_answer_is_stale(shop: Shop, tmp_path: Path) -> None:
    shop.answer(Sale("s-0", NOON, "c-0"))
    corrected = DAY - timedelta(days=8)
    shop.deliver(corrected, [replace(sale, label=True) for sale in shop.sold(corrected)])
    shop.answer(Sale("s-1", NOON + timedelta(seconds=1), "c-1", terminal="t-2"))
    shop.perturb(1, INPUTS.index("terminal_risk_30d"), 0.25)  # no label of another terminal explains this one
    found = outcome(shop.replay(tmp_path), 0.999)
    assert found["causes"] == {"stale": 1, "unknown": 1}
    assert found["inputs"]["terminal_risk_30d"]["causes"] == {"stale": 1, "unknown": 1}


def test_a_correction_of_which_the_lake_keeps_no_trace_is_believed(shop: Shop, tmp_path: Path) -> None:
    place = INPUTS.index("terminal_risk_30d")
    for sale in sales(0, 1):
        shop.answer(sale)
    shop.perturb(0, place, 0.375)
    shop.perturb(1, INPUTS.index("customer_count_1d"), 77.0)  # how many there were is no value that can be corrected
    corrected = DAY - timedelta(days=8)
    for label in (True, False):  # the version of that time is gone with the second
        shop.deliver(corrected, [replace(sale, label=label) for sale in shop.sold(corrected)])
    for back in range(1, 11):
        if DAY - timedelta(days=back) != corrected:
            shop.deliver(DAY - timedelta(days=back), shop.sold(DAY - timedelta(days=back)))
    assert causes(shop, tmp_path) == {"stale": 1, "unknown": 1}


def test_an_amount_that_the_lake_corrected_is_stale(shop: Shop, tmp_path: Path) -> None:
    first, second = sales(0, 60)
    shop.answer(first)
    shop.answer(second)
    shop.deliver(DAY, [replace(first, cents=5)])
    found = outcome(shop.replay(tmp_path), 0.999)
    assert found["inputs"]["customer_mean_7d"]["causes"] == {"stale": 2}
    assert found["never_delivered"] == 1


def test_a_batch_that_was_computed_anew_after_the_answer_is_a_late_event(shop: Shop, tmp_path: Path) -> None:
    yesterday = DAY - timedelta(days=1)
    shop.answer(Sale("s-0", NOON, "c-0"))
    shop.profile(yesterday, {"c-0": [1, 10, 2, 701, 4, 2_001], "c-1": [1, 10, 2, 701, 3, 1_001]})
    found = outcome(shop.replay(tmp_path), 0.999)
    assert found["causes"] == {"late event": 1}
    assert found["inputs"]["profile_mean_30d"]["causes"] == {"late event": 1}


def test_an_event_that_nobody_else_knows_of_explains_nothing(shop: Shop, tmp_path: Path) -> None:
    ghost, seen = sales(0, 60)
    shop.answer(ghost)
    shop.records.clear()  # its record was lost
    shop.answer(seen)
    assert causes(shop, tmp_path) == {"unknown": 1}
