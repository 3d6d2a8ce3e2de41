"""What a live view must not declare is refused when the project is built, with every fault at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jobs.errors import SpecError
from jobs.features.live.plan import plan_of
from jobs.projects.fraud.spec import FRAUD, TERMINAL
from jobs.services import describe
from jobs.spec import LiveView, Project, Window

DAY = timedelta(days=1)


def declared(*windows: Window, **view: Any) -> Project:
    live = LiveView(**{"name": "shop", "entity": ("terminal_id",), "windows": windows} | view)
    return replace(FRAUD, live_views=(live,))


@pytest.mark.fault("F39")
@pytest.mark.parametrize("delay", [timedelta(0), 6 * DAY, 7 * DAY - timedelta(microseconds=1)])
@pytest.mark.parametrize("column", ["label", "is_fraud", "chargeback"])
def test_what_no_request_carries_may_only_be_read_when_it_is_certain(column: str, delay: timedelta) -> None:
    """A planted future: a label, a column that only late deliveries fill, and one that no source has."""
    with pytest.raises(
        SpecError, match=rf"'leak' reads '{column}', which no request carries.*leaks what was not known"
    ):
        declared(Window(name="leak", function="sum", column=column, length=DAY, delay=delay))
    declared(Window(name="leak", function="sum", column=column, length=DAY, delay=7 * DAY))


@pytest.mark.parametrize(
    ("window", "fault"),
    [
        ({"function": "sum", "column": None}, "needs a column"),
        ({"function": "count", "column": "amount_cents"}, "takes no column"),
        ({"length": timedelta(0)}, "needs a positive length"),
        ({"delay": -DAY}, "a delay that is not negative"),
        ({"hop": timedelta(hours=5)}, "its length and delay are not multiples"),
        ({"hop": timedelta(hours=8), "delay": timedelta(hours=4)}, "its length and delay are not multiples"),
        ({"hop": timedelta(0)}, "has a hop of 0:00:00"),
        ({"function": "last", "column": "customer_id"}, "takes the last of the text 'customer_id'"),
        ({"function": "max", "column": "event_time"}, "takes the max of the timestamp 'event_time'"),
        ({"name": "Sum"}, "has a name that is not lower-case"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(window: dict[str, Any], fault: str) -> None:
    fine = {"name": "spent", "function": "count", "length": DAY}
    declared(Window(**fine))
    with pytest.raises(SpecError, match=fault):
        declared(Window(**fine | window))


def test_a_view_that_makes_no_sense_is_refused_with_every_fault() -> None:
    window = Window(name="count_1d", function="count", length=DAY)
    with pytest.raises(SpecError) as refused:
        declared(window, window, entity=("merchant",), events="customer_profile")
    for fault in (
        "entity key 'merchant' is not in a request",
        "window 'count_1d' is declared twice",
        "takes its events from the batch view 'customer_profile'",
    ):
        assert fault in str(refused.value)
    with pytest.raises(SpecError, match="needs at least one entity key and one window"):
        declared()
    with pytest.raises(SpecError, match="feature view 'customer_profile' is declared twice"):
        declared(window, name="customer_profile")


def test_another_declaration_is_another_schema() -> None:
    """So that a stored state is never read as if it were one of other windows."""
    window = Window(name="spent", function="sum", column="amount_cents", length=DAY)
    views = [
        LiveView(name="shop", entity=("terminal_id",), windows=(one,), events=events)
        for one in (window, replace(window, length=2 * DAY), replace(window, hop=DAY), replace(window, function="max"))
        for events in ("spine", "tills")
    ]
    assert len({view.schema for view in views}) == len(views)
    assert replace(views[0], name="another").schema == views[0].schema


def test_a_plan_is_made_once_for_each_declaration() -> None:
    views = [replace(TERMINAL, windows=TERMINAL.windows[:number]) for number in range(1, 7)]
    assert [len(plan_of(view).windows) for view in views] == list(range(1, 7))
    assert plan_of(TERMINAL) is plan_of(TERMINAL)


def test_explain_says_what_each_window_is() -> None:
    hourly = Window(name="hourly", function="sum", column="amount_cents", length=DAY, hop=timedelta(hours=1))
    delayed = Window(name="risk", function="sum", column="label", length=30 * DAY, delay=7 * DAY)
    (view,) = describe.explain(declared(hourly, delayed)).facts["live_views"].values()
    assert view["windows"] == {
        "hourly": "sum(amount_cents) over 1 day, in steps of 1:00:00",
        "risk": "sum(label) over 30 days ending 7 days before",
    }
