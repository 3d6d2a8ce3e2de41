"""XGBoost past one machine: the same learner and parameters through its Spark estimator, to the same kind of file.

A snapshot of more rows than `training_max_rows_local` is tuned, calibrated and judged on a sample of its entities that
fits into memory; what is kept learns from every row. `python -m jobs.training.distributed JOB FILE` is the process in
which that happens: the estimator needs a Spark session of its own, because it does not run on Spark Connect.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.batch import Batches
from jobs.errors import SettingError, TidemillError
from jobs.settings import ROOT, Settings
from jobs.spec import Model, Project
from jobs.storage import Published, verify
from jobs.training.exports import settled
from jobs.training.imbalance import NAMES
from jobs.training.tasks import task_of
from jobs.training.tasks.binary import XGBOOST

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

_CONNECT = ("SPARK_REMOTE", "SPARK_CONNECT_MODE_ENABLED", "SPARK_API_MODE", "SPARK_LOCAL_REMOTE")


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A frame of more rows than one machine trains on, and where to train on them."""

    file: Path
    rows: int
    settings: Settings

    @staticmethod
    def of(file: Path, settings: Settings) -> Whole | None:
        """The frame of a Parquet file with more rows than `training_max_rows_local`; None for a smaller one."""
        import pyarrow.parquet as pq

        rows = pq.read_metadata(file).num_rows
        return Whole(file=file, rows=rows, settings=settings) if rows > settings.training_max_rows_local else None

    def sample(self, entity: str) -> pa.Table:
        """About as many rows as one machine trains on: all those of some entities, the same share of every day.

        An entity is in or out with everything that happened to it, so what is known of it stays known.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        share, kept = self.settings.training_max_rows_local / self.rows, []
        with pq.ParquetFile(self.file) as file:
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group)
                encoded = rows.column(entity).combine_chunks().dictionary_encode()
                chosen = np.array([_draw(str(one)) < share for one in encoded.dictionary.to_pylist()])
                kept.append(rows.filter(pa.array(chosen[np.asarray(encoded.indices)], pa.bool_())))
        return pa.concat_tables(kept)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One fit: which rows of a Parquet file, and with what."""

    file: str
    inputs: Sequence[str]
    days: str
    """Of events to learn from, as FROM..TO."""
    params: Mapping[str, Any]
    """As a tuning chose them, the treatment of imbalance included."""
    increasing: Sequence[bool]
    rounds: int
    seed: int
    workers: int


def trainable(project: Project, snapshot: Published, settings: Settings) -> Project:
    """The project with those learners that train on the snapshot: all, or past one machine those that Spark has.

    Raises SettingError when that leaves a model without any, and TamperedError when the snapshot was altered.
    """
    verify(snapshot)
    models = []
    for model in project.models:
        whole = Whole.of(frame_file(project, model, snapshot), settings)
        # Spark's estimator would take a number of flags as it is
        spread = () if model.flags else task_of(model).distributed
        learners = tuple(one for one in model.learners if one in spread or whole is None)
        if not learners and whole:
            raise SettingError(
                f"model {model.name!r} has no learner that trains on Spark, and {whole.rows:,} rows are more than "
                f"TIDEMILL_TRAINING_MAX_ROWS_LOCAL ({settings.training_max_rows_local:,}): raise it, or declare xgboost"
            )
        models.append(replace(model, learners=learners))
    return replace(project, models=tuple(models))


def inputs_of(project: Project, model: Model, snapshot: Published, settings: Settings) -> dict[str, str]:
    """What else a result depends on past one machine; nothing on one."""
    whole = Whole.of(frame_file(project, model, snapshot), settings)
    limit = f"beyond {settings.training_max_rows_local} rows, {settings.training_workers} workers"
    return {"distributed": limit} if whole else {}


def left_out(declared: Project, trained: Project) -> str:
    """A sentence about the learners that `trainable` took away; empty when it took none."""
    pairs = zip(declared.models, trained.models, strict=True)
    missing = sorted({one for model, other in pairs for one in model.learners if one not in other.learners})
    return (
        f"{', '.join(missing)} left out: too many rows for this machine, and Spark has no such learner"
        if missing
        else ""
    )


def frame_file(project: Project, model: Model, snapshot: Published) -> Path:
    """The model's frame in a snapshot."""
    return snapshot.folder / ("frame.parquet" if len(project.models) == 1 else f"frame-{model.name}.parquet")


def fit(whole: Whole, model: Model, params: Mapping[str, Any], days: Batches, rounds: int) -> Any:
    """The booster that learned from every row of the days, in a process with its own Spark session.

    Raises TidemillError with the end of what that process said when it fails.
    """
    import xgboost

    job = Job(
        file=str(whole.file),
        inputs=model.inputs,
        days=f"{days.first}..{days.last}",
        params=dict(params),
        increasing=tuple(name in model.increasing for name in model.inputs),
        rounds=rounds,
        seed=model.seed,
        workers=whole.settings.training_workers,
    )
    where = {"home": str(whole.settings.home), "spark_master": whole.settings.spark_master}
    with tempfile.TemporaryDirectory(prefix="tidemill-distributed-") as folder:
        asked, answer = Path(folder) / "job.json", Path(folder) / "booster.ubj"
        asked.write_text(json.dumps({"job": asdict(job), "settings": where}))
        done = subprocess.run(
            [sys.executable, "-m", "jobs.training.distributed", str(asked), str(answer)],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name not in _CONNECT},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise TidemillError(
                f"training on Spark ({whole.settings.spark_master}, {job.workers} workers) failed; nothing was "
                f"published. The end of what it said:\n{done.stdout[-2_000:]}"
            )
        return settled(xgboost.Booster(model_file=answer))


def learn(job: Job, settings: Settings) -> Any:
    """The booster of a job, by the estimator, in a Spark session of this process.

    Rows are dealt to workers by their id and sorted there, so that the same job gives the same bytes.
    """
    from xgboost.spark import SparkXGBClassifier

    from jobs.spark import session

    spark = session(settings)
    pinned = XGBOOST.pinned(
        {name: value for name, value in job.params.items() if name not in NAMES}, job.increasing, job.seed
    )
    for name in ("nthread", "objective"):  # the estimator's own
        del pinned[name]
    estimator = SparkXGBClassifier(
        features_col=list(job.inputs), label_col="label", weight_col="weight", n_estimators=job.rounds,
        num_workers=job.workers, **pinned,
    )  # fmt: skip
    booster = estimator.fit(_rows(spark.read.parquet(job.file), job)).get_booster()
    booster.feature_names = booster.feature_types = None  # columns are numbered, as in every other booster
    return booster


def _rows(frame: DataFrame, job: Job) -> DataFrame:
    from pyspark.sql import functions as f

    days = Batches.parse(job.days)
    begin, end = (f"timestamp '{day} 00:00:00Z'" for day in (days.first, days.last + timedelta(days=1)))
    rows = frame.where(f"event_time >= {begin} and event_time < {end}")
    label, weight = f.col("label").cast("int"), f.lit(1.0)
    if job.params.get("imbalance") == "sampling":
        drawn = f.pmod(f.xxhash64("event_id", f.lit(job.seed)), f.lit(1_000_000)) / 1_000_000
        rows = rows.where((label == 1) | (drawn < float(job.params["negatives_kept"])))
    if job.params.get("imbalance") == "weight":
        weight = f.when(label == 1, float(job.params["positive_weight"])).otherwise(1.0)
    columns = [f.col(f"`{name}`") for name in job.inputs]
    rows = rows.select("event_id", label.alias("label"), weight.alias("weight"), *columns)
    return rows.repartition(job.workers, "event_id").sortWithinPartitions("event_id")


def _draw(name: str) -> float:
    """A number from 0 to 1 that is always the same for a name."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) / 2**64


def main(asked: str, answer: str) -> None:
    """Reads a job, and writes the booster it gives."""
    document = json.loads(Path(asked).read_bytes())
    where = document["settings"] | {"home": Path(document["settings"]["home"]), "spark_remote": None}
    learn(Job(**document["job"]), Settings.load().model_copy(update=where)).save_model(answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
