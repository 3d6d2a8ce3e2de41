"""The Fraud Detection Handbook's own figures, by our windows, split, metrics and baseline."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from jobs.batch import Batches
from jobs.lake import Lake
from jobs.projects.fraud.spec import FRAUD
from jobs.training.frame import TrainingFrame, outcomes_of, rows_of
from jobs.training.learners import Examples
from jobs.training.metrics import measure
from jobs.training.sources import Sources
from jobs.training.splits import plan_of
from jobs.training.tasks import task_of
from jobs.training.tasks.binary import LEARNERS
from tests.features.clean import INSTANT, handbook
from tests.training.published import DAY, publish_spine

BOOK = ("amount", "is_weekend", "is_night",
        *(f"customer_{what}_{days}d" for days in (1, 7, 30) for what in ("count", "mean_amount")),
        *(f"terminal_{what}_{days}d" for days in (1, 7, 30) for what in ("count", "risk")))  # fmt: skip
"""The inputs of chapter 3's baselines."""
MODEL = FRAUD.models[0]
PLAN = plan_of(MODEL.split, date(2018, 7, 25))


@pytest.fixture(scope="module")
def first_fold(handbook_raw: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingFrame:
    """The final fold of the plan, from raw files: 2018-07-25..31, tested on 08-08..14."""
    lake = Lake(tmp_path_factory.mktemp("handbook") / "lake")
    for day in Batches(PLAN.final.train.first - timedelta(days=37), PLAN.final.test.last):
        raw = handbook(handbook_raw / f"{day}.parquet")
        known = pc.add(raw["event_time"].cast(pa.int64()), FRAUD.label.delay_days * DAY).cast(INSTANT)
        names = ["event_id", "event_time", "customer_id", "terminal_id", "amount_cents", "label"]
        publish_spine(lake, day, raw.rename_columns(names).append_column("label_time", known))
    days = Batches(PLAN.final.train.first, PLAN.final.test.last)
    table = Sources.of(FRAUD, lake, days).frame(MODEL, days.last + timedelta(days=FRAUD.label.delay_days))
    rows = rows_of(FRAUD, MODEL, table, "the handbook")
    return TrainingFrame(rows=rows, task=task_of(MODEL), split=MODEL.split, plan=PLAN)


def test_the_published_logistic_regression_is_reproduced_on_the_handbook_files(first_fold):
    """Chapter 3, baseline model: AUC .871, average precision .606, card precision@100 .291."""
    columns = [MODEL.inputs.index(name) for name in BOOK]
    train, test = first_fold.of("train"), first_fold.of("test")
    assert (len(train), int(train.label.sum())) == (67_240, 598)
    assert (len(test), int(test.label.sum())) == (58_264, 385)
    examples = Examples(x=train.vectors[:, columns], y=train.label)
    ((_, margins),) = LEARNERS["logistic_regression"].grow({}, examples, test.vectors[:, columns], seed=0)
    outcomes = outcomes_of(test)
    assert measure("roc_auc", outcomes, margins) == pytest.approx(0.871, abs=0.0015)
    assert measure("average_precision", outcomes, margins) == pytest.approx(0.606, abs=0.0015)
    assert measure("card_precision_at_100", outcomes, margins) == pytest.approx(0.291, abs=0.0015)
