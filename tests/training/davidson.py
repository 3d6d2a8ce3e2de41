"""The public data of Davidson et al. 2017 in five honest folds, by the project's features and training code.

`python -m tests.training.davidson` prints the figures of docs/moderation.md.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs.batch import Batches
from jobs.projects import hook
from jobs.projects.moderation.spec import MODERATION
from jobs.spec import Decision, Model
from jobs.training.fitting import fit, score
from jobs.training.frame import Frame, TrainingFrame, outcomes_of
from jobs.training.metrics import measured
from jobs.training.splits import Fold, Plan
from jobs.training.tasks import task_of
from jobs.training.tuning import tune

DATA = Path(os.environ.get("TIDEMILL_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
FILE = DATA / "moderation_davidson" / "tweets.parquet"
CLASSES = ("neither", "offensive", "hate")
"""In the order of the harm; the file counts them the other way round."""
FOLDS, SEED = 5, 1
START = date(2020, 1, 1)
DAYS = 10
"""Made-up days: the file has no times. A fold's train rows are the first eight, its test rows the last two."""


def model() -> Model:
    """The project's model, for these classes; one trial: the learner's start, and as many rounds as a held day asks."""
    decisions = tuple(Decision(name=one.name, costs=one.costs) for one in MODERATION.models[0].decisions)
    return replace(MODERATION.models[0], classes=CLASSES, decisions=decisions, trials=1)


def rows() -> Frame:
    """Every tweet as a post of an author nobody knows."""
    table = pq.read_table(FILE)
    texts, zeros = table.column("tweet").to_numpy(), np.zeros(len(table), dtype=np.int64)
    author = dict.fromkeys(("count_1h", "count_1d", "known_14d", "harmful_14d"), zeros)
    vectors = hook(MODERATION, "features").request({"text": texts}, {"author": author})
    return Frame(
        event_id=np.array([str(one) for one in table.column("row_id").to_pylist()], dtype=object),
        event_time=zeros,
        entity=np.arange(len(table)),
        label=2 - table.column("class").to_numpy().astype(np.int64),
        vectors=vectors,
        payload={},
    )


def fold(everything: Frame, number: int) -> TrainingFrame:
    """The frame in which one fifth of each class is tested on, after eight days of the others of which two are held.

    The first of the held days chooses the number of rounds; the second calibrates, and chooses the classes' weights.
    """
    random, day = np.random.default_rng(SEED), np.zeros(len(everything), dtype=np.int64)
    for one in np.unique(everything.label):
        mine = random.permutation(np.flatnonzero(everything.label == one))
        for part, places in enumerate(np.array_split(mine, FOLDS)):
            of_test = part == number
            day[places] = np.arange(len(places)) % 2 + 8 if of_test else np.arange(len(places)) % 8
    first = int((START - date(1970, 1, 1)).days)
    dated = replace(everything, event_time=(first + day) * 86_400_000_000)
    ordered = np.argsort(dated.event_time, kind="stable")
    days = [START + timedelta(days=one) for one in range(DAYS)]
    plan = Plan(
        final=Fold(train=Batches(days[0], days[7]), test=Batches(days[8], days[9])),
        validation=(Fold(train=Batches(days[0], days[5]), test=Batches(days[6], days[7])),),
    )
    return TrainingFrame(rows=dated.where(ordered), split=MODERATION.models[0].split, plan=plan, task=task_of(model()))


def folds(library: str = "lightgbm", some: range = range(FOLDS)) -> tuple[Frame, NDArray[np.float64]]:
    """The test rows of these folds and their scores, each by a model that saw no other row of its fold's test part."""
    everything, declared = rows(), model()
    tested, scores = [], []
    for number in some:
        frame = fold(everything, number)
        with tempfile.TemporaryDirectory() as folder:
            tuned = tune(declared, library, frame, study="davidson", storage=Path(folder) / "study.log")  # type: ignore[arg-type]
            fitted = fit(MODERATION, declared, tuned.configuration, frame, Path(folder))
            test = frame.of("test")
            tested.append(test)
            scores.append(score(MODERATION, test, Path(folder), fitted.entry))
    whole = replace(
        tested[0],
        event_id=np.concatenate([one.event_id for one in tested]),
        event_time=np.concatenate([one.event_time for one in tested]),
        entity=np.concatenate([one.entity for one in tested]),
        label=np.concatenate([one.label for one in tested]),
        vectors=np.concatenate([one.vectors for one in tested]),
    )
    return whole, np.concatenate(scores)


def main() -> None:
    """Prints every metric over the test rows of all folds."""
    tested, scores = folds()
    for name, value in measured(task_of(model()).metrics, outcomes_of(tested), scores).items():
        print(f"{name} {value:.4f}")


if __name__ == "__main__":
    main()
