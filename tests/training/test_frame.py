from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from jobs.errors import DataRejected, TamperedError
from jobs.projects.fraud.spec import FRAUD
from jobs.stages import train
from tests.training.synthetic import frame, publish_snapshot

TABLE = frame(20)


def with_column(name, values):
    return TABLE.set_column(TABLE.column_names.index(name), name, pa.array(values))


def labels(part, value):
    label = np.asarray(TABLE["label"]).copy()
    label[np.asarray(TABLE["part"].to_pylist()) == part] = value
    return label


@pytest.mark.fault("F35")
@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (with_column("label", labels("train", False)), "part 'train' has a single class: 0 positives of 420 rows"),
        (with_column("label", labels("test", True)), "part 'test' has a single class: 140 positives of 140 rows"),
        (with_column("label", [None, *np.asarray(TABLE["label"])[1:].tolist()]), "unknown .null or NaN. in 1 of 700"),
        (
            with_column("label", np.where(np.arange(700) < 3, np.nan, np.asarray(TABLE["label"]))),
            "unknown .null or NaN. in 3 of 700",
        ),
        (with_column("part", ["train"] * 700), "part 'validation' has no rows"),
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


def test_a_frame_that_was_altered_is_not_learned_from(own):
    published = publish_snapshot(own, "bad", TABLE)
    with (published.folder / "frame.parquet").open("ab") as file:
        file.write(b"x")
    with pytest.raises(TamperedError, match=r"frame\.parquet"):
        train.run(FRAUD, own, run="bad")
