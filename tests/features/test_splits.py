"""Which days train, validate and test."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from jobs.errors import DataRejected
from jobs.projects.fraud.spec import FRAUD
from jobs.spec import Split
from jobs.training.splits import parts

SPLIT = Split(train_days=28, delay_days=7, test_days=7, validation_days=7)
FIRST = date(2026, 1, 1)


def days(count: int) -> list[date]:
    return [FIRST + timedelta(days=offset) for offset in range(count)]


def test_the_newest_labelled_days_test_and_a_label_delay_lies_between() -> None:
    found = parts(SPLIT, 7, date(2026, 3, 1), days(60))
    assert (found.test[0], found.test[-1]) == (date(2026, 2, 16), date(2026, 2, 22))
    assert (found.validation[0], found.validation[-1]) == (date(2026, 2, 2), date(2026, 2, 8))
    assert (found.train[0], found.train[-1]) == (date(2026, 1, 12), date(2026, 2, 1))
    assert len(found.train) + len(found.validation) == SPLIT.train_days


def test_what_is_known_is_used_when_it_is_less_than_declared() -> None:
    found = parts(SPLIT, 7, date(2026, 2, 8), days(39))
    assert (found.train[0], found.train[-1]) == (FIRST, date(2026, 1, 11))
    without = set(days(39)) - {date(2026, 1, 5)}
    assert len(parts(SPLIT, 7, date(2026, 2, 8), without).train) == len(found.train) - 1


@pytest.mark.parametrize("known", [days(10), [], days(100)[60:]], ids=["few", "none", "only later ones"])
def test_too_few_days_are_refused(known: list[date]) -> None:
    with pytest.raises(DataRejected, match="too few labelled days as of 2026-02-01"):
        parts(SPLIT, 7, date(2026, 2, 1), known)


def test_seven_train_days_are_enough_and_six_are_not() -> None:
    enough = date(2026, 2, 4)
    assert len(parts(SPLIT, FRAUD.label.delay_days, enough, days(40)).train) == 7
    with pytest.raises(DataRejected):
        parts(SPLIT, FRAUD.label.delay_days, enough - timedelta(days=1), days(40))
