"""What a declaration must not say: every fault of a project at once, as sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobs.spec import Canary, FeatureView, Label, Model, Project, Source

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")


def contradictions(project: Project, *, reserved: str) -> Iterable[str]:
    """A sentence for each fault of a declaration; `reserved` is the source name that no project may use."""
    named: list[Project | Source | FeatureView | Model] = [project]
    named += [*project.sources, *project.views, *project.models]
    for one in named:
        if not _NAME.match(one.name):
            yield f"{type(one).__name__.lower()} name {one.name!r} is not lower-case letters, digits and _"
    for what, names in (
        ("source", [source.name for source in project.sources]),
        ("table", list(project.tables)),
        ("feature view", [view.name for view in project.views]),
        ("model", [model.name for model in project.models]),
    ):
        if not names:
            yield f"it declares no {what}"
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"{what} {name!r} is declared twice"
    for source in project.sources:
        yield from _of_source(source, reserved)
    for view in project.views:
        if not view.entity or not view.features:
            yield f"feature view {view.name!r} needs at least one entity key and one feature"
        if view.ttl <= timedelta(0) or view.lag < timedelta(0):
            yield f"feature view {view.name!r}: ttl must be positive and lag must not be negative"
    for model in project.models:
        yield from _of_model(model, project.label)
    yield from _of_canary(project.canary)
    for threshold in project.gate.thresholds:
        if threshold.minimum is threshold.maximum is threshold.allowed_regression is None:
            yield f"gate threshold on {threshold.metric!r} bounds nothing"


def _of_source(source: Source, reserved: str) -> Iterable[str]:
    if source.name == reserved:
        yield f"source {source.name!r} is the prediction log's name; choose another"
    columns = {column.name: column for column in source.columns}
    delivered = [alias.name for column in source.columns for alias in column.aliases] + list(columns)
    for name in sorted({name for name in delivered if delivered.count(name) > 1}):
        yield f"source {source.name!r}: {name!r} names more than one column"
    if source.event_id not in columns:
        yield f"source {source.name!r}: event id {source.event_id!r} is not one of its columns"
    if source.event_time not in columns or columns[source.event_time].type != "timestamp":
        yield f"source {source.name!r}: event time {source.event_time!r} is not a timestamp column of it"


def _of_model(model: Model, label: Label) -> Iterable[str]:
    if not model.learners or not model.baselines:
        yield f"model {model.name!r} needs at least one learner and one baseline to beat"
    if model.split.delay_days < label.delay_days:
        yield (
            f"model {model.name!r}: split.delay_days {model.split.delay_days} is shorter than "
            f"the label's delay {label.delay_days}"
        )
    if model.split.validation_days >= model.split.train_days:
        yield f"model {model.name!r}: split.validation_days must be fewer than train_days"


def _of_canary(canary: Canary) -> Iterable[str]:
    steps = canary.steps
    if list(steps) != sorted(set(steps)) or not steps or steps[-1] != 100 or steps[0] < 1:
        yield f"canary steps {steps} must rise from at least 1 to 100 percent"
    if canary.deadline_seconds < canary.bake_seconds:
        yield "canary deadline_seconds is shorter than bake_seconds: no step could ever advance"
