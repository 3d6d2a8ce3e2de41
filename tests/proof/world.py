"""A made-up world of any project: requests as its simulator makes them, and labels as its task has them.

Windows are drawn at random, and the project's own transform makes the inputs of them and of the requests. Two windows
and a number of the request then decide the label, in bands that no straight line can tell apart. What a retrieval
learns from is who took what: viewers of a kind take items of a kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.batch import day_start
from jobs.features.vectors import payload, transform
from jobs.projects import PROJECTS, hook
from jobs.slices import Slice
from jobs.spec import Model, Project, Split
from jobs.training.frame import codes_of
from jobs.training.splits import Plan, plan_of
from tests.proof.case import SEED

AFTER = timedelta(days=40)
"""From a project's first day to the first of its world."""
ROWS_A_DAY = 600
MANY, SOME = 10, 5
"""How many different values a window, and a number of the request, must have to decide a label."""
KINDS = 6
"""Of viewers, and of items: by their second column, in the other world by their number, so that others are alike."""
FEW_ROWS, FEW = 500, 20
"""The most rows, and positives of all or of a group, that a gate here asks for before it judges."""
ALLOWANCE = 2.0
"""Times the allowed regression, and more by the root of how many times fewer rows than the gate asks for are judged:
what few rows can tell is coarser."""
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def declared(project: Project, seed: int = SEED) -> Project:
    """The project with one learner a model, tuned once on a few days, and a gate whose allowances fit their number."""
    delay = max(model.split.delay_days for model in project.models)
    split = Split(train_days=6, delay_days=delay, test_days=4, folds=2)
    models = tuple(
        replace(model, trials=1, learners=model.learners[:1], seed=seed, split=split) for model in project.models
    )
    gate = project.gate
    coarser = ALLOWANCE * max(1.0, gate.minimum_rows / (ROWS_A_DAY * split.test_days)) ** 0.5
    thresholds = tuple(
        replace(one, allowed_regression=one.allowed_regression * coarser) if one.allowed_regression else one
        for one in gate.thresholds
    )
    slices = tuple(replace(one, minimum_positives=min(one.minimum_positives, FEW)) for one in gate.slices)
    return with_gate(
        replace(project, models=models), thresholds=thresholds, slices=slices,
        minimum_rows=min(gate.minimum_rows, FEW_ROWS), minimum_positives=min(gate.minimum_positives, FEW),
    )  # fmt: skip


def with_gate(project: Project, **changes: Any) -> Project:
    """The project with some of its gate changed."""
    return replace(project, gate=replace(project.gate, **changes))


def in_groups(one: Slice, table: pa.Table) -> dict[str, Mask]:
    """Which rows are in each group of a slice."""
    column = np.asarray(table[one.column])
    if one.values:
        return {name: column == value for name, value in zip(one.groups, one.values, strict=True)}
    band = np.searchsorted(one.edges, column.astype(np.float64), side="right")
    return {name: band == place for place, name in enumerate(one.groups)}


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What one model learns from and is judged on, before anybody spoils it."""

    project: str
    model: Model
    table: pa.Table
    windows: tuple[str, ...]
    """The inputs that come from views."""
    telling: tuple[str, ...]
    """The inputs that decide the label: two windows, then a number of the request where there is one."""


@dataclass(frozen=True, kw_only=True)
class World:
    """The frames of a project's models, over the days of one plan."""

    plan: Plan
    frames: Mapping[str, Frame]

    def early(self, table: pa.Table) -> Mask:
        """Which rows are from before the test days."""
        begins = np.datetime64(day_start(self.plan.final.test.first).replace(tzinfo=None))
        early: Mask = np.asarray(table["event_time"]).astype("datetime64[us]") < begins
        return early

    def shuffled(self) -> dict[str, pa.Table]:
        """Every frame with the labels from before the test days dealt out anew, as a negative control has them."""
        return {name: _shuffled(frame.table, self.early(frame.table)) for name, frame in self.frames.items()}


@cache
def world(name: str, *, other: bool = False) -> World:
    """The project's world, always the same; the other one has the same requests and wants something else."""
    project = declared(PROJECTS[name])
    split = project.models[-1].split
    plan = plan_of(split, project.start + AFTER + timedelta(days=split.folds * split.test_days + split.delay_days))
    asked = _requests(project, plan)
    frames = {}
    for place, model in enumerate(project.models):
        random = np.random.default_rng([SEED, place])
        made = _taken if model.task == "retrieval" else _decided
        frames[model.name] = made(project, model, asked, random, other)
    return World(plan=plan, frames=frames)


def _requests(project: Project, plan: Plan) -> pa.Table:
    """Events of the plan's days as their request carries them, at most so many a day; what is ranked together stays so."""
    source, group = project.sources[0], project.models[-1].group
    random, days = np.random.default_rng(SEED), []
    for day in plan.days:
        table: pa.Table = hook(project, "simulate").day(day, 1, None)[source.name].sort_by(source.event_time)
        unit = codes_of(table[group]) if group else np.arange(len(table))
        share = ROWS_A_DAY / len(table)
        days.append(table.filter(pa.array((random.random(int(unit.max()) + 1) < share)[unit])))
    found = pa.concat_tables(days)
    columns = [column.name for column in source.columns if not column.nullable and column.name != source.event_id]
    asked = found.select(columns).rename_columns(
        ["event_time" if name == source.event_time else name for name in columns]
    )
    return asked.add_column(0, "event_id", pa.array([f"e{row:07}" for row in range(len(asked))])).combine_chunks()


def _decided(project: Project, model: Model, asked: pa.Table, random: np.random.Generator, other: bool) -> Frame:
    """The frame of a model whose label depends on some of its inputs."""
    rows, carried, make = len(asked), payload(project, asked), transform(project, model)
    views = {
        view.name: {name: random.poisson(random.gamma(2.0, 10.0, rows)) for name in view.features} | {"found": np.ones(rows, bool)}
        for view in project.every_view
    }  # fmt: skip
    none = {view: {name: np.zeros_like(column) for name, column in found.items()} for view, found in views.items()}
    vectors, empty = make(carried, views), make(carried, none)
    numbers = len(model.inputs) - (model.flags.numbers if model.flags else 0)
    different = [len(np.unique(column)) for column in vectors[:, :numbers].T]
    moved = [bool((vectors[:, place] != empty[:, place]).any()) for place in range(numbers)]
    of_views = [place for place in range(numbers) if moved[place] and different[place] >= MANY]
    of_request = [
        place for place in range(numbers)
        if not moved[place] and different[place] >= SOME and _orders(vectors[:, place], asked, model)
    ]  # fmt: skip
    telling = [*of_views[:2], *of_request[:1]]
    label = _labels(model, np.column_stack([_quantile(vectors[:, place]) for place in telling]), random, other)
    table = asked
    if model.place:
        table = table.append_column(model.place, pa.array(random.integers(1, 11, rows)))
    table = table.append_column("label", pa.array(label))
    for place, name in enumerate(model.inputs):
        table = table.append_column(name, pa.array(vectors[:, place]))
    return Frame(
        project=project.name, model=model, table=table, windows=tuple(model.inputs[place] for place in range(numbers) if moved[place]),
        telling=tuple(model.inputs[place] for place in telling),
    )  # fmt: skip


def _labels(model: Model, quantiles: Floats, random: np.random.Generator, other: bool) -> NDArray[Any]:
    """Yes or no, a class or a grade, from where the telling inputs lie among all values; the other world's bands differ."""
    first, second = (0.15, 0.3) if other else (0.45, 0.6)
    bands = (quantiles > first) & (quantiles < second)
    strong, weak = bands[:, :2], bands[:, 2:].any(axis=1)
    high = quantiles[:, 1] < 0.05 if other else quantiles[:, 1] > 0.95
    if model.task == "multiclass":
        places = np.arange(len(model.classes) - 1) % strong.shape[1]
        margins = np.column_stack([np.full(len(quantiles), 4.0), 8.0 * strong[:, places] + 0.5 * weak[:, None]])
        chance = np.exp(margins - margins.max(axis=1, keepdims=True))
        chance /= chance.sum(axis=1, keepdims=True)
        return np.asarray((chance.cumsum(axis=1) < random.random((len(chance), 1))).sum(axis=1))
    margin = -5.0 + 5.5 * strong[:, 0] + 6.0 * high + 2.5 * weak
    if model.task == "binary":
        return np.asarray(random.random(len(margin)) < 1 / (1 + np.exp(-margin)))
    drawn = random.random(len(margin))
    return np.sum([drawn < 1 / (1 + np.exp(less - margin)) for less in (0.0, 2.0)], axis=0)


def _taken(project: Project, model: Model, asked: pa.Table, random: np.random.Generator, other: bool) -> Frame:
    """The frame of a retrieval: who took what, and the items each viewer had taken before, the latest first."""
    viewer, items = codes_of(asked[project.entity]), [np.asarray(asked[name]) for name in model.item]
    kinds = items[0] // KINDS if other else items[min(1, len(items) - 1)]
    alike = viewer % KINDS == kinds % KINDS
    label = (random.random(len(asked)) < np.where(alike, 0.6, 0.04)).astype(np.int64)
    width = len(model.inputs) - len(items)
    before, recent = dict[int, list[int]](), np.zeros((len(asked), width), dtype=np.float64)
    for row, (who, item, took) in enumerate(zip(viewer.tolist(), items[0].tolist(), label.tolist(), strict=True)):
        mine = before.setdefault(who, [])
        recent[row, : len(mine)] = mine
        before[who] = [item, *mine][:width] if took else mine
    table = asked.append_column("label", pa.array(label))
    for name, column in zip(model.inputs, (*items, *recent.T), strict=True):
        table = table.append_column(name, pa.array(np.asarray(column, dtype=np.float64)))
    return Frame(project=project.name, model=model, table=table, windows=(), telling=())


def _orders(column: Floats, asked: pa.Table, model: Model) -> bool:
    """Whether most rows differ in it from the first that is ranked with them, where any are."""
    if model.group is None:
        return True
    _, first, group = np.unique(codes_of(asked[model.group]), return_index=True, return_inverse=True)
    return bool((column != column[first][group]).mean() > 0.5)


def _quantile(column: Floats) -> Floats:
    """Where each value lies among all of them, from 0 to 1; equal values lie at the same place."""
    ordered = np.sort(column)
    left, right = (np.searchsorted(ordered, column, side=side) for side in ("left", "right"))  # type: ignore[call-overload]
    return np.asarray((left + right) / 2 / len(column))


def _shuffled(table: pa.Table, early: Mask) -> pa.Table:
    label = np.asarray(table["label"]).copy()
    label[early] = np.random.default_rng(SEED).permutation(label[early])
    return changed(table, "label", label)


def changed(table: pa.Table, name: str, values: NDArray[Any]) -> pa.Table:
    """The table with another column under that name."""
    return table.set_column(table.column_names.index(name), name, pa.array(values))


def values(table: pa.Table, name: str) -> NDArray[Any]:
    """A column, to be changed."""
    column = table[name]
    return np.asarray(pc.cast(column, column.type)).copy()
