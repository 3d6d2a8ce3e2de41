"""The bill and the bounds: what is on the page is what the script works out, and it can be worked out by hand."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from infra import capacity
from infra.capacity import PAGE, SIZES, Line, bill, bounds, total, with_tables
from jobs.settings import ROOT

MILLION = SIZES[1]


def test_the_page_has_what_the_script_works_out() -> None:
    text = PAGE.read_text()
    assert "<!-- capacity -->" in text
    assert text == with_tables(text), "run `python -m infra.capacity`"


def test_a_line_is_its_arithmetic() -> None:
    line = Line(what="writes", quantity=120_000_000, unit="units", micros=625_000, per=10**6)
    assert line.cents == 7_500
    assert line.arithmetic == "120,000,000 units × $0.625 / 1,000,000 units"


def test_a_fraction_of_a_cent_is_a_cent() -> None:
    assert Line(what="one", quantity=1, unit="unit", micros=1).cents == 1


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.title)
def test_a_bill_is_the_sum_of_its_lines_largest_first(size: capacity.Size) -> None:
    cents = [line.cents for line in bill(size)]
    assert sum(cents) == total(size)
    assert cents == sorted(cents, reverse=True)


def test_more_events_never_cost_less() -> None:
    costs = [total(replace(MILLION, events_per_day=10**power)) for power in range(3, 11)]
    assert costs == sorted(costs)


def test_a_write_of_the_online_store_costs_by_kilobyte_and_key() -> None:
    written = next(line for line in bill(MILLION) if line.what == "online store, writes")
    assert written.quantity == 30_000_000 * capacity.KEYS * capacity.STATE_KB


def test_at_a_billion_the_online_store_breaks_before_slots_and_routers() -> None:
    order = [bound.what for bound in bounds(SIZES[2])]
    assert order.index("the online store, write units a second") < order.index("slots of a project")
    assert order.index("slots of a project") < order.index("routers")


def test_at_the_laptops_size_nothing_is_near_its_limit() -> None:
    assert all(bound.percent < 50 for bound in bounds(SIZES[0]))


def test_the_bounds_are_those_of_production() -> None:
    production = (ROOT / "infra/terraform/envs/production/main.tf").read_text()
    slots = re.search(r"slot\s+= \{[^}]*maximum = (\d+)", production)
    write = re.search(r"online_store_units = \{ read = (\d+), write = (\d+) \}", production)
    limits = {bound.what: bound.limit for bound in bounds(MILLION)}
    assert slots is not None
    assert write is not None
    assert limits["slots of a project"] == int(slots[1])
    assert limits["the online store, read units a second"] == int(write[1])
    assert limits["the online store, write units a second"] == int(write[2])
