"""Text in every script: kept byte for byte or refused with its reason, and never taken for another text."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from jobs.batch import Batches
from jobs.features.online import OnlineStore
from jobs.lake import Lake
from jobs.settings import Settings
from jobs.stages import etl, features, validate
from tests.data.deliveries import DAY, FRAUD, Row, accepted, csv, jsonl, parquet, payment, quarantined, rows_of, take_in

CUSTOMERS = {
    "right to left": "عميل-\u200fשלום",
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈",
    "composed": unicodedata.normalize("NFC", "Ångström café"),
    "decomposed": unicodedata.normalize("NFD", "Ångström café"),
    "latin": "alice",
    "cyrillic look-alike": "аlice",
    "separators": "a/b|c\x1fd",
    "beyond the basic plane": "𝒜𝔘𐍈",
    "only a space inside": "a b",
}
ROWS: list[Row] = [payment(number, customer_id=text) for number, text in enumerate(CUSTOMERS.values())]


@pytest.mark.fault("F36")
@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_text_of_every_script_is_kept_byte_for_byte(settings: Settings, tmp_path: Path, form: str) -> None:
    data = {"csv": csv, "jsonl": jsonl}[form](ROWS) if form != "parquet" else parquet(tmp_path / "rows", ROWS)
    take_in(settings, {f"a.{form}": data})
    assert {row["customer_id"].encode() for row in accepted(settings)} == {text.encode() for text in CUSTOMERS.values()}


@pytest.mark.fault("F36")
def test_a_lone_surrogate_is_refused_with_its_reason_and_the_rest_goes_on(settings: Settings) -> None:
    broken = b'{"transaction_id": "x", "event_time": "2026-01-10T10:00:00Z", "customer_id": "\\ud800", '
    broken += b'"terminal_id": "m", "amount_cents": 1}\n'
    take_in(settings, {"a.jsonl": jsonl(ROWS) + broken})
    assert len(accepted(settings)) == len(ROWS)
    (refused,) = quarantined(settings)
    assert "surrogate" in refused["reason"]


@pytest.mark.fault("F36")
def test_a_text_of_a_megabyte_is_kept_or_refused_whole(settings: Settings) -> None:
    huge = payment(99, customer_id="é" * 500_000)
    take_in(settings, {"a.jsonl": jsonl([*ROWS, huge])})
    kept = [row for row in accepted(settings) if row["transaction_id"] == "t99"]
    refused = quarantined(settings)
    assert len(kept) + len(refused) == 1
    assert all(row["customer_id"] == huge["customer_id"] for row in kept)


@pytest.mark.fault("F36")
def test_texts_that_look_alike_are_different_entities_all_the_way_to_the_online_store(settings: Settings) -> None:
    day = Batches(DAY, DAY)
    others = [payment(n, customer_id=f"c{n % 70}", terminal_id=f"m{n % 60}") for n in range(100, 400)]
    take_in(settings, {"a.jsonl": jsonl([*ROWS, payment(50, customer_id="alice"), *others])})
    etl.run(FRAUD, settings, batches=day)
    validate.run(FRAUD, settings, batches=day)
    features.run(FRAUD, settings, batches=day)
    (view,) = FRAUD.views
    rows = rows_of(Lake(settings.lake_uri).features("fraud", view.name, DAY))
    counts = {row["customer_id"]: row["count_30d"] for row in rows if row["customer_id"] in CUSTOMERS.values()}
    assert counts == {text: 2 if text == "alice" else 1 for text in CUSTOMERS.values()}
    store = OnlineStore.open(settings.online_store_url, FRAUD)
    at = int(rows[0]["available_at"].timestamp() * 1e6)
    values, found = store.read(view, [(text,) for text in CUSTOMERS.values()], [at] * len(CUSTOMERS))
    assert found.all()
    place = view.features.index("count_30d")
    assert values[:, place].tolist() == [counts[text] for text in CUSTOMERS.values()]
