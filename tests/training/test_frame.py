from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.errors import DataRejected, TamperedError
from jobs.projects.fraud.spec import FRAUD
from jobs.stages import train
from jobs.training.frame import LARGEST, frame_of
from tests.training.synthetic import PLAN, frame, publish_snapshot

TABLE = frame(20)
ROWS = len(TABLE)
AMOUNTS = np.asarray(TABLE["amount"])


def with_column(name, values):
    return TABLE.set_column(TABLE.column_names.index(name), name, pa.array(values))


def labels(days, value):
    label, day = np.asarray(TABLE["label"]).copy(), np.asarray(TABLE["event_time"]).astype("datetime64[D]")
    label[(day >= np.datetime64(days.first)) & (day <= np.datetime64(days.last))] = value
    return label


@pytest.mark.fault("F35")
@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (
            with_column("label", labels(PLAN.final.train, False)),
            "to train on in 2026-01-26..2026-02-01 have a single class: 0 positives of 140 rows",
        ),
        (with_column("label", labels(PLAN.final.test, False)), "to test on in 2026-02-09..2026-02-15 have a single"),
        (
            with_column("label", labels(PLAN.validation[2].test, False)),
            "to validate on in 2026-01-12..2026-01-18 have a single class: 0 positives",
        ),
        (with_column("label", np.zeros(ROWS, bool)), "single class"),
        (
            with_column("label", [None, *np.asarray(TABLE["label"])[1:].tolist()]),
            f"unknown .null or NaN. in 1 of {ROWS:,}",
        ),
        (
            with_column("label", np.where(np.arange(ROWS) < 3, np.nan, np.asarray(TABLE["label"]))),
            f"unknown .null or NaN. in 3 of {ROWS:,}",
        ),
        (TABLE.slice(0, 12 * 20), "no rows to test on in 2026-02-09..2026-02-15"),
    ],
)
def test_labels_that_teach_nothing_are_refused_before_anything_is_trained(own, table, reason):
    publish_snapshot(own, "bad", table)
    with pytest.raises(DataRejected, match=reason):
        train.run(FRAUD, own, run="bad")
    assert not list((own.home / "lake").rglob("training.json"))


@pytest.mark.fault("F34")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_inputs_that_are_not_finite_are_refused_with_all_columns_named(own, value):
    amount, risk = (np.asarray(TABLE[name]).copy() for name in ("amount", "terminal_risk_7d"))
    amount[:2], risk[5] = value, value
    table = with_column("amount", amount)
    table = table.set_column(table.column_names.index("terminal_risk_7d"), "terminal_risk_7d", pa.array(risk))
    publish_snapshot(own, "bad", table)
    with pytest.raises(
        DataRejected, match=r"(?s)'amount' is null, NaN or infinite in 2 rows.*'terminal_risk_7d'.*1 row"
    ):
        train.run(FRAUD, own, run="bad")


@pytest.mark.fault("F34")
@given(
    value=st.one_of(st.floats(), st.sampled_from([1e308, -1e308, 3.5e38, -0.0, 5e-324])), row=st.integers(0, ROWS - 1)
)
@settings(deadline=None, max_examples=60)
def test_one_value_of_any_kind_is_refused_or_learned_from_as_it_is(value, row):
    """Doubles beyond the singles that trees learn from would be infinite there; all others are kept bit for bit."""
    amount = AMOUNTS.copy()
    amount[row] = value
    if np.isfinite(value) and abs(value) <= LARGEST:
        found = frame_of(FRAUD, FRAUD.models[0], PLAN, with_column("amount", amount), "here")
        assert found.rows.vectors[:, 0].tobytes() == amount.tobytes()
        assert np.isfinite(found.rows.vectors.astype(np.float32)).all()
    else:
        with pytest.raises(DataRejected, match=r"input 'amount' is (null, NaN or infinite|beyond 3\.4e\+38) in 1 row"):
            frame_of(FRAUD, FRAUD.models[0], PLAN, with_column("amount", amount), "here")


def test_a_frame_that_was_altered_is_not_learned_from(own):
    published = publish_snapshot(own, "bad", TABLE)
    with (published.folder / "frame.parquet").open("ab") as file:
        file.write(b"x")
    with pytest.raises(TamperedError, match=r"frame\.parquet"):
        train.run(FRAUD, own, run="bad")
