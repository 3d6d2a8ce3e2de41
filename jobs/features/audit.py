"""Which model inputs each feature reaches, what no model uses, and what an entity's features take up online."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import numpy as np

from jobs import mirror
from jobs.features.dependencies import dependencies
from jobs.features.live import state
from jobs.features.online.packing import HEADER, MARK
from jobs.lake import Lake
from jobs.result import Result
from jobs.spec import FeatureView, LiveView, Project
from jobs.storage import current

_INSTANT = 1_700_000_000_000_000


def report(project: Project, lake: Lake) -> Result:
    """Every feature of every view with the inputs of each model that read it, and bytes for each entity.

    The facts' `unused` are the features, as `view.feature`, that no input of any model reads.
    """
    from jobs.services.tables import render

    reached = readers(project)
    views: dict[str, Any] = {}
    for view in project.every_view:
        events = events_per_entity(project, lake, view) if isinstance(view, LiveView) else None
        views[view.name] = {
            "kind": "live" if isinstance(view, LiveView) else "batch",
            "entity": list(view.entity),
            "features": {name: reached[view.name, name] for name in view.features},
            "events_per_entity": events,
            "bytes_per_entity": None
            if isinstance(view, LiveView) and events is None
            else stored_bytes(view, events or 0.0),
        }
    unused = [f"{view}.{name}" for view, one in views.items() for name, inputs in one["features"].items()
              if not any(inputs.values())]  # fmt: skip
    rows = [
        (
            one["kind"],
            view if index == 0 else "",
            name,
            _readers(inputs) or "no model",
            _bytes(one) if index == 0 else "",
        )
        for view, one in views.items()
        for index, (name, inputs) in enumerate(one["features"].items())
    ]
    count = sum(len(one["features"]) for one in views.values())
    line = render(("kind", "view", "feature", "read by", "bytes an entity"), rows, title=f"{project.name}: features")
    if unused:
        line += f"\nwarning: {len(unused)} of {count} features are used by no model: {', '.join(unused)}"
    else:
        line += f"\nevery one of the {count} features is used by a model"
    return Result(line=line, facts={"project": project.name, "views": views, "unused": unused})


def readers(project: Project) -> dict[tuple[str, str], dict[str, list[str]]]:
    """For each (view, feature): by model, the inputs that change with it (see `dependencies`)."""
    reached = dependencies(project)
    return {
        (view.name, name): {
            model.name: [one for one in model.inputs if (view.name, name) in reached.get(one, ())]
            for model in project.models
        }
        for view in project.every_view
        for name in view.features
    }


def stored_bytes(view: FeatureView | LiveView, events: float = 0.0, id_bytes: int = 12) -> int:
    """Bytes of an entity's value in the online store, header included; of a live view with so many events in reach.

    `events` is rounded up; their ids are `id_bytes` long. The key's own name comes on top.
    """
    if isinstance(view, FeatureView):
        return HEADER + 8 * len(view.features)
    count = int(np.ceil(events))
    reach = view.reach // timedelta(microseconds=1)
    times = _INSTANT - np.linspace(0, reach, count, endpoint=False).astype(np.int64)
    ids = [f"{index:0{id_bytes}d}" for index in range(count)]
    some = state.Events(times, ids, np.ones((count, len(view.columns)), dtype=np.int64))
    return MARK + len(state.add(view, None, some, _INSTANT))


def events_per_entity(project: Project, lake: Lake, view: LiveView) -> float | None:
    """Events of the view for each of its entities, over as many of the newest published days as it reaches back."""
    import duckdb

    folder = lake.features(project.name, view.events, project.start).parent
    days = mirror.partitions(folder)[-(view.reach // timedelta(days=1) + 1) :]
    paths = [path for day in days if (published := current(day)) for path in published.paths()]
    if not paths:
        return None
    keys = ", ".join(f'"{key}"' for key in view.entity)
    with duckdb.connect(":memory:") as connection:
        query = f"select count(*), count(distinct ({keys})) from read_parquet(?, hive_partitioning = false)"  # noqa: S608
        events, entities = connection.sql(query, params=[paths]).fetchall()[0]
    return events / entities if entities else None


def _readers(inputs: Mapping[str, list[str]]) -> str:
    named = [(model, names) for model, names in inputs.items() if names]
    return "; ".join((f"{model}: " if len(inputs) > 1 else "") + ", ".join(names) for model, names in named)


def _bytes(view: Mapping[str, Any]) -> str:
    if view["bytes_per_entity"] is None:
        return "no events yet"
    events = view["events_per_entity"]
    return f"{view['bytes_per_entity']:,}" + (f" ({events:.1f} events)" if events is not None else "")
