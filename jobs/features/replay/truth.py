"""What the vectors should have been: the lake's views as of each event, its windows over the lake and the scored events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobs.features import point_in_time, vectors
from jobs.features.live import running
from jobs.features.replay.log import NONE
from jobs.projects import hook
from jobs.spec import FeatureView, LiveView, Project

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What the lake says of answers, a row each."""

    joined: pa.Table
    """The events with the features of every view, `<view>__found` and what each was computed from."""
    inputs: NDArray[np.float64]
    """The model inputs, (rows, inputs)."""

    def found(self, view: str) -> NDArray[np.bool_]:
        """Which rows the view has a value for."""
        return np.asarray(self.joined.column(f"{view}__found").to_numpy(), dtype=np.bool_)

    def counter(self, view: str, name: str) -> NDArray[np.int64]:
        """The view's `available_at` in microseconds, `events` or `checksum`; `log.NONE` where there is none."""
        import pyarrow as pa
        import pyarrow.compute as pc

        column = self.joined.column(f"{view}__{name}")
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        return np.asarray(pc.fill_null(column, NONE).to_numpy(), dtype=np.int64)

    def take(self, rows: NDArray[np.int64]) -> Truth:
        """These rows."""
        return Truth(joined=self.joined.take(rows), inputs=self.inputs[rows])


def from_files(
    project: Project,
    asked: pa.Table,
    batch: Mapping[FeatureView, Sequence[str]],
    events: Mapping[LiveView, Sequence[str]],
) -> Truth:
    """What these files of the batch views, and of the events of the live ones, say of the asked events."""
    joined = _joined(asked, batch, events, provenance=True)
    return Truth(joined=joined, inputs=vectors.inputs(project, joined))


def inputs(
    project: Project,
    asked: pa.Table,
    batch: Mapping[FeatureView, Sequence[str]],
    events: Mapping[LiveView, Sequence[str]],
) -> NDArray[np.float64]:
    """The inputs alone, from these views only: the others, which no input changes with, are as if nothing was found."""
    joined = _joined(asked, batch, events, provenance=False)
    zeros, nothing = np.zeros(len(asked), dtype=np.int64), np.zeros(len(asked), dtype=np.bool_)
    features = {}
    for view in project.every_view:
        there = view in batch or view in events
        features[view.name] = {
            name: joined.column(f"{view.name}__{name}").to_numpy() if there else zeros for name in view.features
        }
        features[view.name]["found"] = joined.column(f"{view.name}__found").to_numpy() if there else nothing
    found: NDArray[np.float64] = hook(project, "features").request(_Payload(project, asked), features)
    return found


class _Payload(Mapping[str, NDArray[Any]]):
    """The request columns, each turned into an array when it is asked for: most requests carry texts nobody reads."""

    def __init__(self, project: Project, asked: pa.Table) -> None:
        self._project, self._asked = project, asked
        self._names = vectors.payload_names(project, asked.column_names)

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._names:
            raise KeyError(name)
        return vectors.payload(self._project, self._asked.select([name]))[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _joined(
    asked: pa.Table,
    batch: Mapping[FeatureView, Sequence[str]],
    events: Mapping[LiveView, Sequence[str]],
    *,
    provenance: bool,
) -> pa.Table:
    """The events with the features of these views; the two kinds are joined by themselves and laid side by side."""
    joined = asked
    if batch:
        keys = dict.fromkeys(("event_time", *(key for view in batch for key in view.entity)))
        found = point_in_time.join(asked.select(list(keys)), batch, provenance=provenance)
        for name in found.column_names[len(keys) :]:
            joined = joined.append_column(name, found.column(name))
    found = running.windows(list(events), asked, events, provenance=provenance)
    for name in found.column_names[len(asked.column_names) :]:
        joined = joined.append_column(name, found.column(name))
    return joined
