"""The champion's scores of a challenger's hold-out, also when it takes other inputs than are made today.

In this order, and otherwise it is refused:

1. Its views, request transform and inputs are the present ones: it scores the hold-out.
2. Every input it takes still has, in the run's frame, the very bits that the release stored for the same events: it
   scores the hold-out from those columns. New inputs, other views and edited code beside them do no harm.
3. Enough rows of the hold-out were scored by it when they happened: those rows alone are compared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.batch import Batches
from jobs.errors import TamperedError
from jobs.lake import Lake
from jobs.monitoring.labels import predictions
from jobs.release.bundle import same_contract, verify_bundle
from jobs.release.ledger import Champion
from jobs.release.scorer import Scorer
from jobs.spec import Model, Project
from jobs.storage import digest_of
from jobs.training.frame import Frame
from jobs.training.splits import Plan
from jobs.training.tasks import task_of
from jobs.training.tasks.task import Task

STORED_ROWS = 100
"""The fewest stored rows of the release that must be in the frame to show that its inputs are made as they were."""
Scores = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Rival:
    """The champion on the hold-out: what the evaluation says of it, and its scores of some rows or none."""

    document: dict[str, Any]
    rows: NDArray[np.bool_] | None = None
    """Which rows of the hold-out it was compared on."""
    scores: Scores | None = None
    """Of those rows."""


def log_digest(project: Project, lake: Lake, snapshot: Mapping[str, Any]) -> str:
    """A digest of the prediction log of a snapshot's test days: what a comparison may depend on."""
    plans = [Plan.of(snapshot.get("models", {}).get(model.name, snapshot)) for model in project.models]
    first, last = min(plan.final.test.first for plan in plans), max(plan.final.test.last for plan in plans)
    return digest_of([one.digest for one in predictions(lake, project, first, last, date.max)])


def rival(
    project: Project, model: Model, everything: Frame, test: Frame, days: Batches, champion: Champion, lake: Lake
) -> Rival:
    """The champion's scores of the test rows, or the reason why there are none and the command that resolves it.

    `everything` are the rows of the run's whole frame, and `days` the days of the test.
    """
    described: dict[str, Any] = {"release": champion.release, "digest": champion.digest, "epoch": champion.epoch}
    folder = lake.release(project.name, champion.release)
    try:
        manifest = verify_bundle(folder, champion.digest)
    except TamperedError as error:
        return Rival(document={**described, "refused": str(error)})
    entries = {entry["name"]: entry for entry in manifest["models"]}
    if model.name not in entries:
        return Rival(document={**described, "refused": f"release {champion.release} has no model {model.name!r}"})
    theirs = tuple(entries[model.name]["inputs"])
    if same_contract(project, manifest, model.inputs):
        how, why = "its contract is the present one", ""
    else:
        how, why = _still_made(folder, model, theirs, everything)
    if how:
        columns = [model.inputs.index(name) for name in theirs]
        scores = Scorer.load(folder, manifest, model.name).score(np.ascontiguousarray(test.vectors[:, columns]))
        return Rival(document={**described, "how": how}, rows=np.ones(len(test), dtype=np.bool_), scores=scores)
    rows, scores = _logged(project, task_of(model), test, days, champion, lake)
    count, positives = int(rows.sum()), int(task_of(model).positive(test.label[rows]).sum())
    gate = project.gate
    if count >= gate.minimum_rows and positives >= gate.minimum_positives:
        told = f"{why}; it is compared on the {count:,} of {len(test):,} rows that it scored when they happened"
        return Rival(document={**described, "how": told}, rows=rows, scores=scores)
    refused = (
        f"{why}, and it scored only {count:,} of the hold-out's rows, {positives:,} of them positive, when they "
        f"happened (it takes {gate.minimum_rows:,} and {gate.minimum_positives:,}). Declare its inputs again beside the "
        f"new ones, or let it serve on, and train with a later day: "
        f"`tidemill snapshot --project {project.name} --run NEW --as-of DAY`"
    )
    return Rival(document={**described, "refused": refused})


def _still_made(folder: Path, model: Model, theirs: tuple[str, ...], everything: Frame) -> tuple[str, str]:
    """How it is known that the release's inputs are made as they were, or why it is not."""
    gone = [name for name in theirs if name not in model.inputs]
    if gone:
        return "", f"its input {gone[0]!r} is not declared any more"
    stored: Mapping[str, Any] = json.loads((folder / "parity.json").read_bytes())["models"].get(model.name, {})
    ids = stored.get("event_ids")
    if not ids:
        return "", "it stored no events to show that its inputs are made as they were"
    place = {name: row for row, name in enumerate(everything.event_id)}
    known = [(row, place[name]) for row, name in enumerate(ids) if name in place]
    if len(known) < STORED_ROWS:
        return "", (
            f"only {len(known)} of the {len(ids):,} events it stored are in this run's frame, and it takes {STORED_ROWS} "
            "to show that its inputs are made as they were"
        )
    columns = [model.inputs.index(name) for name in theirs]
    before = np.asarray(stored["vectors"], dtype=np.float64)[[row for row, _ in known]]
    after = everything.vectors[[row for _, row in known]][:, columns]
    differs = (before != after).sum(axis=0)
    if differs.any():
        worst = int(differs.argmax())
        return (
            "",
            f"its input {theirs[worst]!r} is made otherwise in {differs[worst]:,} of {len(known):,} stored events",
        )
    return (
        f"each of its inputs is as it was in all {len(known):,} of its stored events that are in this run's frame",
        "",
    )


def _logged(
    project: Project, task: Task, test: Frame, days: Batches, champion: Champion, lake: Lake
) -> tuple[NDArray[np.bool_], Scores]:
    """Which test rows the champion scored when they happened, and those scores; answers from defaults do not count."""
    import duckdb
    import pyarrow as pa

    rows = np.zeros(len(test), dtype=np.bool_)
    files = [path for one in predictions(lake, project, days.first, days.last, date.max) for path in one.paths()]
    if not files:
        return rows, np.empty(0)
    with duckdb.connect(":memory:") as connection:
        connection.execute("set timezone = 'UTC'")
        connection.register("test", pa.table({"event_id": pa.array(test.event_id, pa.string())}))
        query = """
            select * from read_parquet(?, hive_partitioning = false, union_by_name = true) semi join test using (event_id)
            where release = ? and not degraded
            qualify row_number() over (partition by event_id order by served_at desc, request_id desc) = 1
        """
        found = connection.sql(query, params=[files, champion.release]).to_arrow_table()
    if "beside" in found.column_names:  # of a list made with another release, it scored the rows it chose
        found = found.filter(found["beside"].is_null())
    place = {name: row for row, name in enumerate(found.column("event_id").to_pylist())}
    rows = np.array([name in place for name in test.event_id], dtype=np.bool_)
    logged = task.logged(found)[[place[name] for name in test.event_id[rows]]]
    whole = np.isfinite(logged if logged.ndim == 1 else logged.sum(axis=1))
    rows[np.flatnonzero(rows)[~whole]] = False
    return rows, logged[whole]
