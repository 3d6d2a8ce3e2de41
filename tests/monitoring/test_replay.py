"""The replay stage: published like the other monitoring results, a finding when what was served is not what the lake says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from html import unescape
from typing import Any

import pytest

from jobs.batch import Batches
from jobs.errors import SpecError
from jobs.lake import located
from jobs.release.ledger import Ledger
from jobs.settings import Settings
from jobs.spec import Replay
from jobs.stages import replay
from jobs.storage import current
from tests.features.morning import morning, sales
from tests.features.shop import DAY, INPUTS, NOON, SHOP, Sale, Shop

ONE = Batches(DAY, DAY)


@pytest.fixture
def shop(settings: Settings) -> Iterator[Shop]:
    with morning(settings) as shop:
        yield shop


def result(shop: Shop, day: date = DAY) -> dict[str, Any]:
    published = current(shop.lake.monitoring(shop.project.name, "replay", day))
    assert published is not None
    found: dict[str, Any] = json.loads((published.folder / "result.json").read_text())
    return found


def test_a_day_that_holds_is_published_and_linked(shop: Shop) -> None:
    shop.answer(*sales(0, 1, 2))
    shop.ingest()
    done = replay.run(shop.project, shop.settings, batches=ONE)
    assert (done.exit_code, done.facts["verdict"], done.facts["vectors"], done.facts["share"]) == (0, "holds", 3, 1.0)
    assert done.line == f"replay {DAY}: holds: 3 of 3 vectors are identical (100.00 %)"
    found = result(shop)
    assert (found["identical"], found["causes"], found["never_delivered"], found["examples"]) == (3, {}, 3, [])
    assert list(found["inputs"]) == list(INPUTS)
    index = shop.lake.monitoring(shop.project.name, "replay", DAY).parents[1] / "index.html"
    link = str(located(done.facts["report"]).relative_to(index.parent))
    assert link in index.read_text()
    assert not replay.run(shop.project, shop.settings, batches=ONE).exit_code
    published = current(shop.lake.monitoring(shop.project.name, "replay", DAY))
    assert published is not None
    assert published.epoch == 1, "nothing changed, so nothing was computed again"


def test_a_skewed_day_is_a_finding_that_a_person_can_read(shop: Shop) -> None:
    for sale in sales(0, 1, 2):
        shop.answer(sale)
    shop.perturb(1, INPUTS.index("customer_mean_7d"), 123.0)
    shop.perturb(2, INPUTS.index("amount"), 1.0)
    shop.ingest()
    done = replay.run(shop.project, shop.settings, batches=ONE)
    assert (done.exit_code, done.facts["verdict"], done.facts["causes"]) == (1, "skewed", {"unknown": 2})
    assert "1 of 3 vectors are identical (33.33 %); unknown 2" in done.line
    page = unescape(located(done.facts["report"]).read_text())
    for text in (
        "skewed",
        "customer_mean_7d",
        "123.0",
        "s-001",
        "66.66 %",
        'aria-label="66.66 % of amount identical, unknown 1"',
    ):
        assert text in page
    assert "c-0" not in page, "a customer is a person"
    assert "http" not in page, "the page opens without a network"
    with Ledger(shop.settings.need("database_url")) as ledger:
        (verdict,) = ledger.verdicts(shop.project.name, "replay")
    assert (verdict.subject, verdict.verdict, verdict.document["rule"]) == (str(DAY), "REJECT", "replayed")


def test_a_range_is_each_of_its_days(shop: Shop) -> None:
    later = NOON + timedelta(days=2)
    shop.answer(*sales(0, 1))
    shop.answer(Sale("s-9", later, "c-1"))
    shop.perturb(2, 0, 1.5)
    shop.ingest()
    both = replay.run(shop.project, shop.settings, batches=Batches(DAY, later.date()))
    assert both.exit_code == 1
    assert (both.facts["vectors"], both.facts["identical"]) == (3, 2)
    assert list(both.facts["skipped"]) == [str(DAY + timedelta(days=1))]
    together = [result(shop, day) for day in (DAY, later.date())]
    for day in (DAY, later.date()):
        replay.run(shop.project, shop.settings, batches=Batches(day, day), force=True)
    assert [result(shop, day) for day in (DAY, later.date())] == together


def test_a_release_by_itself_is_shown_and_not_published(shop: Shop) -> None:
    first, second = sales(0, 1)
    shop.answer(first)
    shop.answer(second, release="r-0000000000aa")
    shop.perturb(0, 0, 1.5)
    shop.ingest()
    shown = replay.run(shop.project, shop.settings, batches=ONE, release="r-0000000000aa")
    assert (shown.exit_code, shown.facts["vectors"], shown.facts["identical"]) == (0, 1, 1)
    assert replay.run(shop.project, shop.settings, batches=ONE, release="r-0000000000bb").exit_code == 99
    assert current(shop.lake.monitoring(shop.project.name, "replay", DAY)) is None
    every = replay.run(shop.project, shop.settings, batches=ONE)
    assert result(shop)["releases"] == {
        "r-0000000000aa": {"vectors": 1, "identical": 1},
        "r-000000000001": {"vectors": 1, "identical": 0},
    }
    assert every.exit_code == 1


def test_a_day_is_replayed_again_when_the_lake_has_changed(shop: Shop) -> None:
    shop.answer(*sales(0, 1))
    shop.ingest()
    assert replay.run(shop.project, shop.settings, batches=ONE).facts["never_delivered"] == 2
    shop.deliver(DAY, sales(0, 1))
    assert replay.run(shop.project, shop.settings, batches=ONE).facts["never_delivered"] == 0


def test_nothing_served_is_nothing_to_do(shop: Shop) -> None:
    done = replay.run(shop.project, shop.settings, batches=ONE)
    assert (done.exit_code, done.facts["reason"]) == (99, f"no prediction of an event of {DAY} has been ingested")


def test_the_share_that_a_project_asks_for_decides(shop: Shop) -> None:
    for sale in sales(*range(4)):
        shop.answer(sale)
    shop.answer(Sale("s-early", NOON - timedelta(minutes=1), "c-0"))  # too late for the four before it
    shop.answer(Sale("s-other", NOON, "c-1"))
    shop.ingest()
    strict = replay.run(shop.project, shop.settings, batches=ONE)
    assert (strict.facts["verdict"], strict.facts["causes"]) == ("skewed", {"late event": 4})
    lenient = replace(shop.project, replay=Replay(minimum_identical=0.3))
    assert replay.run(lenient, shop.settings, batches=ONE).facts["verdict"] == "holds"


@pytest.mark.parametrize("share", [0.0, 1.5, -1.0])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(SpecError, match="minimum_identical"):
        replace(SHOP, replay=Replay(minimum_identical=share))
