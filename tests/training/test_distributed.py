"""Past one machine: XGBoost on Spark learns as well as here, from every row, to the same kind of file."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.batch import Batches, day_start
from jobs.errors import SettingError, TidemillError
from jobs.lake import Lake
from jobs.projects.fraud.spec import FRAUD
from jobs.release.probability import corrected, sigmoid
from jobs.settings import Settings
from jobs.spec import Model
from jobs.stages import evaluate, train
from jobs.storage import current, publish
from jobs.training import distributed
from jobs.training.candidates import read_training
from jobs.training.distributed import Job, Whole
from jobs.training.imbalance import kept
from jobs.training.learners import Examples
from jobs.training.metrics import Outcomes, difference_intervals, measure
from jobs.training.splits import Plan
from jobs.training.tasks.binary import LEARNERS, XGBOOST
from tests.training.runs import home_of
from tests.training.synthetic import AS_OF, PLAN, frame, small_project

pytestmark = pytest.mark.timeout(900)

INPUTS = tuple(f"x{number}" for number in range(5))
MODEL: Model = replace(FRAUD.models[0], inputs=INPUTS, increasing=("x0",), reasons=())
LEARNED, HELD = Batches(date(2026, 1, 1), date(2026, 1, 10)), Batches(date(2026, 1, 11), date(2026, 1, 20))
ROUNDS, DAY = 40, 86_400_000_000
STEADY = {**XGBOOST.start, "subsample": 1.0, "colsample_bynode": 1.0}
"""Without draws, which differ with the order of rows: two seeds on one machine are .03 of average precision apart."""


def made_up(rows: int = 40_000) -> pa.Table:
    """Twenty days of events of entities, one in twenty positive."""
    random = np.random.default_rng(5)
    start = int(day_start(LEARNED.first).timestamp() * 1_000_000)
    time = start + np.sort(random.integers(0, 20 * DAY, rows))
    x = random.normal(size=(rows, len(INPUTS)))
    label = random.random(rows) < 1 / (1 + np.exp(4.2 - 1.4 * x[:, 0] - 1.6 * x[:, 1] * x[:, 2] - (x[:, 3] > 1)))
    columns = {
        "event_id": [f"e{number}" for number in range(rows)],
        "event_time": pa.array(time, pa.timestamp("us", "UTC")),
        "customer_id": [f"c{number}" for number in random.integers(0, 3_000, rows)],
        "label": label,
    }
    return pa.table(columns | {name: x[:, index] for index, name in enumerate(INPUTS)})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    home = tmp_path_factory.mktemp("distributed")
    pq.write_table(made_up(), home / "frame.parquet", row_group_size=7_000)
    found = Whole.of(home / "frame.parquet", home_of(home).model_copy(update={"training_max_rows_local": 10_000}))
    assert found is not None
    return found


def rows_of(whole: Whole, days: Batches) -> tuple[np.ndarray, Outcomes]:
    table = pq.read_table(whole.file)
    time = np.asarray(table["event_time"].cast(pa.int64()))
    chosen = [datetime.fromtimestamp(one / 1e6, UTC).date() in days for one in time]
    table = table.filter(pa.array(chosen))
    entity = np.asarray(table["customer_id"].combine_chunks().dictionary_encode().indices, dtype=np.int64)
    label, time = np.asarray(table["label"]), np.asarray(table["event_time"].cast(pa.int64()))
    outcomes = Outcomes(label=label, event_time=time, entity=entity)
    return np.column_stack([np.asarray(table[name]) for name in INPUTS]), outcomes


def margins(booster: Any, x: np.ndarray) -> np.ndarray:
    return np.asarray(booster.inplace_predict(x, predict_type="margin"), dtype=np.float64)


def learned(whole: Whole, params: dict[str, Any], workers: int = 2) -> Any:
    """The booster of all rows of the days, in this process."""
    job = Job(
        file=str(whole.file), inputs=INPUTS, days=str(LEARNED), params={**XGBOOST.start, **params},
        increasing=(True, False, False, False, False), rounds=ROUNDS, seed=MODEL.seed, workers=workers,
    )  # fmt: skip
    return distributed.learn(job, whole.settings)


@pytest.mark.parametrize("workers", [1, 2])
def test_it_is_as_good_as_on_one_machine(whole: Whole, workers: int) -> None:
    (x, outcomes), (held, judged) = rows_of(whole, LEARNED), rows_of(whole, HELD)
    here = LEARNERS["xgboost"].fit(
        STEADY, Examples(x=x, y=outcomes.label, increasing=(True, *[False] * 4)), ROUNDS, MODEL.seed
    )
    there = learned(whole, STEADY, workers)
    scores = {name: sigmoid(margins(booster, held)) for name, booster in (("here", here), ("there", there))}
    for metric, worth, noise in (("average_precision", 0.4, 0.005), ("roc_auc", 0.8, 0.002)):
        found = difference_intervals(metric, judged, scores["there"], {"here": scores["here"]}, seed=1)["here"]
        assert measure(metric, judged, scores["there"]) > worth
        assert found["low"] <= 0 <= found["high"] or abs(found["difference"]) < noise, (metric, found)
    rising = np.tile(held[:50], (20, 1))
    rising[:, 0] = np.repeat(np.linspace(-3, 3, 20), 50)
    assert (np.diff(margins(there, rising).reshape(20, 50), axis=0) >= 0).all()  # bound to rise with x0


@pytest.mark.slow
def test_the_same_job_gives_the_same_bytes_and_another_process_too(whole: Whole) -> None:
    one = distributed.fit(whole, MODEL, XGBOOST.start, LEARNED, ROUNDS)
    other = distributed.settled(learned(whole, {}))
    assert one.save_raw("ubj") == other.save_raw("ubj")
    assert (one.num_features(), one.feature_names) == (len(INPUTS), None)


@pytest.mark.parametrize(
    "treatment",
    [{"imbalance": "weight", "positive_weight": 6.0}, {"imbalance": "sampling", "negatives_kept": 0.3}],
    ids=["weight", "sampling"],
)
def test_rare_positives_are_treated_as_the_parameters_say(whole: Whole, treatment: dict[str, Any]) -> None:
    held, judged = rows_of(whole, HELD)
    raw = margins(learned(whole, treatment), held)
    assert sigmoid(raw).mean() > 1.5 * judged.label.mean()
    assert sigmoid(corrected(raw, kept(treatment))).mean() == pytest.approx(judged.label.mean(), rel=0.15)


def test_a_sample_has_whole_entities_and_the_same_share_of_every_day(whole: Whole) -> None:
    table = whole.sample("customer_id")
    assert len(table) == pytest.approx(whole.settings.training_max_rows_local, rel=0.1)
    assert table.equals(whole.sample("customer_id"))
    every, mine = (Counter(one["customer_id"].to_pylist()) for one in (pq.read_table(whole.file), table))
    assert all(every[customer] == count for customer, count in mine.items())
    days = [
        Counter(np.asarray(one["event_time"].cast(pa.int64())) // DAY) for one in (pq.read_table(whole.file), table)
    ]
    assert all(days[1][day] / days[0][day] == pytest.approx(0.25, abs=0.05) for day in days[0])
    assert Whole.of(whole.file, whole.settings.model_copy(update={"training_max_rows_local": 40_000})) is None


def test_what_spark_cannot_do_is_said_and_nothing_comes_of_it(whole: Whole) -> None:
    lost = replace(whole, file=Path("/nowhere/frame.parquet"))
    with pytest.raises(TidemillError, match=r"training on Spark \(local\[2\], 2 workers\) failed(?s:.*)nowhere"):
        distributed.fit(lost, MODEL, XGBOOST.start, LEARNED, ROUNDS)


@pytest.fixture
def large(tmp_path: Path) -> Settings:
    """A run's snapshot with more rows than this machine is told to train on; one fold before the final one."""
    settings = home_of(tmp_path).model_copy(update={"training_max_rows_local": 12_000})
    table = frame()
    facts = {
        "as_of": str(AS_OF), **Plan(final=PLAN.final, validation=PLAN.validation[:1]).document(),
        "rows": len(table), "spec": FRAUD.digest, "git": "0" * 40, "negative_control": False,
    }  # fmt: skip

    def write(folder: Path) -> int:
        pq.write_table(table, folder / "frame.parquet", row_group_size=5_000)
        (folder / "snapshot.json").write_text(json.dumps(facts))
        return len(table)

    partition = Lake(settings.lake_uri).run(FRAUD.name, "large") / "snapshot"
    publish(partition, write, inputs={}, watermark=str(AS_OF), facts=facts)
    return settings


@pytest.mark.slow
def test_a_run_past_one_machine_goes_on_to_its_evaluation_without_lightgbm(large: Settings) -> None:
    project = small_project(trials=1)
    result = train.run(project, large, run="large")
    assert "lightgbm left out" in result.line
    assert set(result.facts["models"]["fraud"]) == {"rule", "logistic_regression", "xgboost"}
    folder = Lake(large.lake_uri).run("fraud", "large") / "candidates" / "fraud"
    candidate = current(folder / "xgboost")
    assert candidate is not None
    assert candidate.manifest.inputs["distributed"] == "beyond 12000 rows, 2 workers"
    assert read_training(candidate)["rows"]["train"] < 12_000  # tuned and judged on the sample
    found = evaluate.run(project, large, run="large", past=()).facts["models"]["fraud"]
    assert found["picked"] == "xgboost"
    assert current(folder / "lightgbm") is None


def test_a_model_that_only_lightgbm_could_learn_is_refused(large: Settings) -> None:
    project = small_project(trials=1)
    alone = replace(project, models=(replace(project.models[0], learners=("lightgbm",)),))
    with pytest.raises(SettingError, match=r"no learner that trains on Spark.*TIDEMILL_TRAINING_MAX_ROWS_LOCAL"):
        train.run(alone, large, run="large")
