"""The snapshot's training frame as arrays, checked before anything learns from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import DataRejected
from jobs.settings import Settings
from jobs.spec import Model, Project, Split
from jobs.storage import Published, verify
from jobs.training.distributed import Whole, frame_file
from jobs.training.leaks import telling
from jobs.training.metrics import Outcomes
from jobs.training.splits import Fold, Plan, judged, learned
from jobs.training.tasks import task_of
from jobs.training.tasks.task import Task

if TYPE_CHECKING:
    import pyarrow as pa

_DAY = 86_400_000_000
LARGEST = float(np.finfo(np.float32).max)
"""Inputs are kept as doubles and learned from as singles: what is larger would be infinite there."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Rows of one model's frame, ordered by (event time, event id)."""

    event_id: NDArray[np.object_]
    event_time: NDArray[np.int64]
    """Microseconds since 1970 UTC."""
    entity: NDArray[np.int64]
    """A number from 0 for each value of the project's entity key: who the row is about."""
    label: NDArray[Any]
    """As the model's task reads it."""
    vectors: NDArray[np.float64]
    group: NDArray[np.int64] | None = None
    """A number from 0 for each set of rows that are ranked together, where the model declares such a column."""
    place: NDArray[np.int64] | None = None
    """At which place each row was shown, from 1, where the model declares such a column."""
    item: NDArray[np.int64] | None = None
    """The number of the item each row is about, where the model finds items."""
    payload: Mapping[str, NDArray[Any]]
    """The request as `features.request` and `features.rule` take it."""

    def where(self, mask: NDArray[np.bool_]) -> Frame:
        """The rows for which the mask is true, in the same order."""
        return Frame(
            event_id=self.event_id[mask],
            event_time=self.event_time[mask],
            entity=self.entity[mask],
            label=self.label[mask],
            vectors=self.vectors[mask],
            group=None if self.group is None else self.group[mask],
            place=None if self.place is None else self.place[mask],
            item=None if self.item is None else self.item[mask],
            payload={name: column[mask] for name, column in self.payload.items()},
        )

    @property
    def day(self) -> NDArray[np.int64]:
        """The day since 1970 that each row counts to; a group is never divided, it counts to its first row's."""
        return days_of(self.event_time, self.group)

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True, kw_only=True)
class TrainingFrame:
    """All rows from the first day of a plan to its last, and which of them each fold uses."""

    rows: Frame
    task: Task
    split: Split
    plan: Plan
    whole: Whole | None = None
    """All there is, where `rows` are a sample because one machine does not train on more."""

    def learned(self, fold: Fold) -> Frame:
        """The rows a fold learns from."""
        return self.rows.where(learned(fold, self.rows.day))

    def judged(self, fold: Fold) -> Frame:
        """The rows a fold is judged on: without the entities known by then, if the split drops them."""
        rows = self.rows
        positive = self.task.positive(rows.label)
        return rows.where(judged(fold, self.split, rows.day, rows.entity, positive))

    def of(self, part: str) -> Frame:
        """The rows of the final fold's `train` or `test` part."""
        return {"train": self.learned, "test": self.judged}[part](self.plan.final)


def outcomes_of(frame: Frame) -> Outcomes:
    """What happened in the rows of a frame, as metrics take it."""
    return Outcomes(
        label=frame.label, event_time=frame.event_time, entity=frame.entity, group=frame.group, item=frame.item
    )


def read_frame(project: Project, model: Model, snapshot: Published, settings: Settings | None = None) -> TrainingFrame:
    """The model's frame of a snapshot, or of one too large for the settings a sample, and where the whole is.

    Raises TamperedError when a file differs from the manifest, and DataRejected, naming every fault
    at once, for labels that are missing or of a single class and for inputs that are not finite.
    """
    import pyarrow.parquet as pq

    verify(snapshot)
    facts = snapshot.manifest.facts
    plan = Plan.of(facts.get("models", {}).get(model.name, facts))
    file = frame_file(project, model, snapshot)
    whole = Whole.of(file, settings) if settings else None
    table = whole.sample(project.entity) if whole else pq.read_table(file)
    return replace(frame_of(project, model, plan, table, str(snapshot.folder)), whole=whole)


def frame_of(project: Project, model: Model, plan: Plan, table: pa.Table, where: str) -> TrainingFrame:
    """The arrays of a table as `Sources.frame` makes it; raises DataRejected, naming every fault at once."""
    return planned(model, plan, rows_of(project, model, table, where), where)


def rows_of(project: Project, model: Model, table: pa.Table, where: str) -> Frame:
    """The rows of a table, whatever they are used for; raises DataRejected for unknown labels and values."""
    asked = tuple(filter(None, (model.group, model.place)))
    missing = [
        name for name in ("event_id", "event_time", "label", *asked, *model.inputs) if name not in table.schema.names
    ]
    if missing:
        raise _rejected(model, where, [f"column {name!r} is missing" for name in missing])
    table = table.sort_by([("event_time", "ascending"), ("event_id", "ascending")])
    faults = [*_label_faults(table), *_input_faults(table, model)]
    if faults:
        raise _rejected(model, where, faults)
    request = [
        name
        for name in table.schema.names
        if name not in ("event_id", "label", "label_time", model.place, *model.inputs)
    ]
    return Frame(
        event_id=_array(table["event_id"]),
        event_time=_array(table["event_time"]),
        entity=codes_of(table[project.entity]),
        label=task_of(model).labels(table["label"]),
        vectors=np.column_stack([np.asarray(table[name], dtype=np.float64) for name in model.inputs]),
        group=codes_of(table[model.group]) if model.group else None,
        place=_array(table[model.place]) if model.place else None,
        item=_array(table[model.item[0]]) if model.item else None,
        payload={name: _array(table[name]) for name in request},
    )


def planned(model: Model, plan: Plan, rows: Frame, where: str) -> TrainingFrame:
    """The rows with what a plan uses them for; raises DataRejected where a fold has no rows or a single class.

    Also where an input alone tells the labels of the test.
    """
    task = task_of(model)
    found = TrainingFrame(rows=rows, task=task, split=model.split, plan=plan)
    test = found.of("test")
    faults = [*_fold_faults(found), *telling(model.inputs, test.vectors, task.positive(test.label))]
    if faults:
        raise _rejected(model, where, faults)
    return found


def days_of(event_time: NDArray[np.int64], group: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """The day since 1970 of each row, or of the first row of its group."""
    day = event_time // _DAY
    if group is None or not len(group):
        return np.asarray(day, dtype=np.int64)
    first = np.full(int(group.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, group, day)
    return np.asarray(first[group], dtype=np.int64)


def codes_of(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """A number from 0 for each different value of a column, in order of appearance."""
    return np.asarray(column.combine_chunks().dictionary_encode().indices, dtype=np.int64)


def _array(column: Any) -> NDArray[Any]:
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        return np.asarray(column.cast(pa.timestamp("us", tz=column.type.tz)).cast(pa.int64()), dtype=np.int64)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.asarray(column.to_pylist(), dtype=object)
    return np.asarray(column)


def _label_faults(table: pa.Table) -> list[str]:
    import pyarrow as pa
    import pyarrow.compute as pc

    column = table["label"]
    unknown = column.null_count
    if pa.types.is_floating(column.type):
        unknown += pc.sum(pc.is_nan(column)).as_py() or 0
    if unknown:
        return [f"label is unknown (null or NaN) in {unknown} of {len(column):,} rows"]
    return []


def _fold_faults(frame: TrainingFrame) -> Iterable[str]:
    plan = frame.plan
    judged = [("test", plan.final), *(("validate", fold) for fold in (plan.calibration, *plan.tuning))]
    parts = [("train", fold.train, frame.learned(fold).label) for fold in plan.folds]
    parts += [(what, fold.test, frame.judged(fold).label) for what, fold in judged]
    for what, days, label in parts:
        if not len(label):
            yield f"there are no rows to {what} on in {days}"
        elif fault := frame.task.fault(label):
            yield f"the rows to {what} on in {days} {fault}"


def _input_faults(table: pa.Table, model: Model) -> list[str]:
    faults = []
    for name in model.inputs:
        column = table[name]
        values = np.asarray(column, dtype=np.float64)
        bad = column.null_count or int((~np.isfinite(values)).sum())
        large = int((np.isfinite(values) & (np.abs(values) > LARGEST)).sum())
        if bad:
            faults.append(f"input {name!r} is null, NaN or infinite in {bad:,} rows")
        if large:
            faults.append(f"input {name!r} is beyond {LARGEST:.3g} in {large:,} rows")
    return faults


def _rejected(model: Model, where: str, faults: list[str]) -> DataRejected:
    return DataRejected(
        "\n".join(
            [
                f"model {model.name!r} cannot be trained on {where}; nothing was trained:",
                *(f"- {fault}" for fault in faults),
                "look at the batches in its snapshot.json, then run `tidemill snapshot` again",
            ]
        )
    )
