"""Which days train, tune, calibrate and test, and which rows of them count."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.errors import DataRejected
from jobs.projects.fraud.spec import FRAUD
from jobs.spec import Split
from jobs.training.splits import Fold, Plan, judged, learned, plan, plan_of, span

SPLIT = Split(train_days=7, delay_days=7, test_days=7, folds=4, drop_known=True)
FIRST = date(2026, 1, 1)


def days(count: int) -> list[date]:
    return [FIRST + timedelta(days=offset) for offset in range(count)]


def texts(fold: Fold) -> tuple[str, str]:
    return str(fold.train), str(fold.test)


def test_the_folds_are_those_of_the_handbook() -> None:
    found = plan(SPLIT, 7, date(2018, 8, 21), {date(2018, 4, 1) + timedelta(days=one) for one in range(183)})
    assert texts(found.final) == ("2018-07-25..2018-07-31", "2018-08-08..2018-08-14")
    assert texts(found.validation[0]) == ("2018-07-11..2018-07-17", "2018-07-25..2018-07-31")
    assert texts(found.validation[3]) == ("2018-06-20..2018-06-26", "2018-07-04..2018-07-10")
    assert not found.left_out
    assert found == plan_of(SPLIT, date(2018, 7, 25))
    assert Plan.of(found.document()) == found


@given(
    train=st.integers(1, 30), gap=st.integers(0, 10), test=st.integers(2, 14), folds=st.integers(1, 5),
    missing=st.sets(st.integers(0, 150), max_size=80),
)  # fmt: skip
@settings(deadline=None, max_examples=200)
def test_nothing_is_learned_tuned_or_calibrated_on_before_it_could_be_known(train, gap, test, folds, missing):
    split = Split(train_days=train, delay_days=gap, test_days=test, folds=folds)
    known = [day for offset, day in enumerate(days(150)) if offset not in missing]
    try:
        found = plan(split, gap, FIRST + timedelta(days=149), known)
    except DataRejected:
        return
    assert found.final.test.last + timedelta(days=gap) == FIRST + timedelta(days=149)
    for fold in found.folds:
        assert fold.test.first - fold.train.last == timedelta(days=gap + 1)
        assert found.final is fold or fold.test.last <= found.final.train.last
        assert 2 * sum(day in known for day in fold.train) >= train
    tuned = {day for fold in found.tuning for day in fold.test}
    assert tuned
    assert tuned.isdisjoint(found.calibration.test)
    assert (tuned | set(found.calibration.test)).isdisjoint(found.final.test)
    assert len(found.validation) + len(found.left_out) == folds


def test_a_short_history_leaves_folds_out_and_says_which():
    found = plan(SPLIT, 7, date(2026, 2, 22), days(60))
    assert [str(fold.train.first) for fold in found.validation] == ["2026-01-12", "2026-01-05", "2025-12-29"]
    assert [str(fold.train.first) for fold in found.left_out] == ["2025-12-22"]
    only = plan(SPLIT, 7, date(2026, 2, 8), days(39))
    assert len(only.validation) == 1
    assert [str(fold.test) for fold in only.tuning] == ["2026-01-12..2026-01-15"]
    assert str(only.calibration.test) == "2026-01-16..2026-01-18"


@pytest.mark.parametrize("known", [days(10), [], days(100)[60:]], ids=["few", "none", "only later ones"])
def test_too_few_days_are_refused(known: list[date]) -> None:
    with pytest.raises(DataRejected, match=r"too few labelled days as of 2026-02-01: .* of 7 days to train on in"):
        plan(SPLIT, FRAUD.label.delay_days, date(2026, 2, 1), known)


def books(frame: pd.DataFrame, first: date) -> set[str]:
    """The handbook's own `get_train_test_set` (shared_functions, chapter 3.4), in its own words."""
    start, of = (first - date(2018, 4, 1)).days, frame.TX_TIME_DAYS
    train = frame[of.between(start, start + 6)]
    known, test = set(train[train.TX_FRAUD == 1].CUSTOMER_ID), []
    for day in range(7):
        of_day = frame[of == start + 14 + day]
        delayed = frame[of == start + 7 + day - 1]
        known |= set(delayed[delayed.TX_FRAUD == 1].CUSTOMER_ID)
        test.append(of_day[~of_day.CUSTOMER_ID.isin(known)])
    return set(pd.concat(test).TRANSACTION_ID)


def test_known_entities_are_dropped_as_in_the_handbook_files(handbook_raw):
    planned = plan_of(replace(SPLIT, folds=1), date(2018, 7, 25))
    columns = ["TRANSACTION_ID", "CUSTOMER_ID", "TX_TIME_DAYS", "TX_FRAUD"]
    frame = pd.concat(
        [pq.read_table(handbook_raw / f"{day}.parquet", columns=columns).to_pandas() for day in planned.days]
    )
    day = frame.TX_TIME_DAYS.to_numpy().astype(np.int64) + (date(2018, 4, 1) - date(1970, 1, 1)).days
    customer, label = frame.CUSTOMER_ID.to_numpy().astype(np.int64), frame.TX_FRAUD.to_numpy() == 1
    for fold in planned.folds:
        rows = judged(fold, SPLIT, day, customer, label)
        assert set(frame.TRANSACTION_ID[rows]) == books(frame, fold.train.first)
    rows = judged(planned.final, SPLIT, day, customer, label)
    train = learned(planned.final, day)
    assert (rows.sum(), label[rows].sum(), train.sum(), label[train].sum()) == (58_264, 385, 67_240, 598)
    kept = judged(planned.final, replace(SPLIT, drop_known=False), day, customer, label)
    assert kept.sum() > rows.sum()


def test_a_fold_takes_as_many_days_as_it_says():
    planned = plan_of(SPLIT, FIRST)
    assert (planned.final.test.last - planned.final.train.first).days + 1 == span(SPLIT) == 21
