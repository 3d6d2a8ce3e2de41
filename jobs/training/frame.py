"""The snapshot's training frame as arrays, checked before anything learns from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import DataRejected
from jobs.spec import Model, Project
from jobs.storage import Published, verify
from jobs.training.metrics import Outcomes

PARTS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Rows of one model's frame, ordered by (event time, event id)."""

    event_id: NDArray[np.object_]
    event_time: NDArray[np.int64]
    """Microseconds since 1970 UTC."""
    entity: NDArray[np.object_]
    """The first entity key of the project's first view: who the row is about."""
    label: NDArray[np.bool_]
    part: NDArray[np.object_]
    vectors: NDArray[np.float64]
    payload: Mapping[str, NDArray[Any]]
    """The request as `features.request` and `features.rule` take it."""

    def where(self, mask: NDArray[np.bool_]) -> Frame:
        """The rows for which the mask is true, in the same order."""
        return Frame(
            event_id=self.event_id[mask],
            event_time=self.event_time[mask],
            entity=self.entity[mask],
            label=self.label[mask],
            part=self.part[mask],
            vectors=self.vectors[mask],
            payload={name: column[mask] for name, column in self.payload.items()},
        )

    def of(self, *parts: str) -> Frame:
        """The rows of the named parts: train, validation, test."""
        return self.where(np.isin(self.part.astype(str), parts))

    def __len__(self) -> int:
        return len(self.label)


def outcomes_of(frame: Frame) -> Outcomes:
    """What happened in the rows of a frame, as metrics take it."""
    codes = np.unique(frame.entity.astype(str), return_inverse=True)[1]
    return Outcomes(label=frame.label, event_time=frame.event_time, entity=codes.astype(np.int64))


def read_frame(project: Project, model: Model, snapshot: Published) -> Frame:
    """The model's frame of a snapshot.

    Raises TamperedError when a file differs from the manifest, and DataRejected, naming every fault
    at once, for labels that are missing or of a single class and for inputs that are not finite.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    verify(snapshot)
    name = "frame.parquet" if len(project.models) == 1 else f"frame-{model.name}.parquet"
    table = pq.read_table(snapshot.folder / name)
    missing = [
        name for name in ("event_id", "event_time", "label", "part", *model.inputs) if name not in table.schema.names
    ]
    if missing:
        raise _rejected(model, snapshot, [f"column {name!r} is missing" for name in missing])
    table = table.sort_by([("event_time", "ascending"), ("event_id", "ascending")])
    faults = [*_label_faults(table), *_input_faults(table, model)]
    if faults:
        raise _rejected(model, snapshot, faults)
    request = [
        name for name in table.schema.names if name not in ("event_id", "label", "part", "label_time", *model.inputs)
    ]
    payload = {name: _array(table[name]) for name in request}
    return Frame(
        event_id=_array(table["event_id"]),
        event_time=_array(table["event_time"]),
        entity=_array(table[project.entity]),
        label=np.asarray(pc.cast(table["label"], "bool"), dtype=bool),
        part=_array(table["part"]),
        vectors=np.column_stack([np.asarray(table[name], dtype=np.float64) for name in model.inputs]),
        payload=payload,
    )


def _array(column: Any) -> NDArray[Any]:
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        return np.asarray(column.cast(pa.timestamp("us", tz=column.type.tz)).cast(pa.int64()), dtype=np.int64)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.asarray(column.to_pylist(), dtype=object)
    return np.asarray(column)


def _label_faults(table: Any) -> list[str]:
    import pyarrow as pa
    import pyarrow.compute as pc

    column = table["label"]
    unknown = column.null_count
    if pa.types.is_floating(column.type):
        unknown += pc.sum(pc.is_nan(column)).as_py() or 0
    if unknown:
        return [f"label is unknown (null or NaN) in {unknown} of {len(column):,} rows"]
    label, part = np.asarray(column).astype(bool), np.asarray(table["part"].to_pylist(), dtype=str)
    faults = []
    for name in PARTS:
        labels = label[part == name]
        if not len(labels):
            faults.append(f"part {name!r} has no rows")
        elif labels.all() or not labels.any():
            faults.append(f"part {name!r} has a single class: {int(labels.sum()):,} positives of {len(labels):,} rows")
    return faults


def _input_faults(table: Any, model: Model) -> list[str]:
    faults = []
    for name in model.inputs:
        bad = table[name].null_count or int((~np.isfinite(np.asarray(table[name], dtype=np.float64))).sum())
        if bad:
            faults.append(f"input {name!r} is null, NaN or infinite in {bad:,} rows")
    return faults


def _rejected(model: Model, snapshot: Published, faults: list[str]) -> DataRejected:
    return DataRejected(
        "\n".join(
            [
                f"model {model.name!r} cannot be trained on {snapshot.folder}; nothing was trained:",
                *(f"- {fault}" for fault in faults),
                "look at the batches in its snapshot.json, then run `tidemill snapshot` again",
            ]
        )
    )
