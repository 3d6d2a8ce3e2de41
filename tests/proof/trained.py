"""Bad candidates: each is trained by the stages on a world that somebody spoilt, while the champion knew the clean one.

What is spoilt is named by what a model declares: its windows, its numbers of the request, its slices, its thresholds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pyarrow as pa

from jobs.slices import Slice
from jobs.spec import Model, Project
from jobs.training import frame as frames
from jobs.training.tasks import task_of
from tests.proof.case import SEED, Case, Seen, taken_away
from tests.proof.home import Home
from tests.proof.world import Frame, Mask, changed, in_groups, values, with_gate, world

OFTEN = 12
"""How many times too often positives are delivered."""
FLIPPED = 0.2
CALIBRATION = ("expected_calibration_error", "mean_prediction_ratio", "log_loss", "normalised_entropy", "brier")
"""Metrics that a score must be a probability for."""
RANKS = "does not apply: a score orders what is asked about together, and is no probability"
FINDS = "does not apply: it learns from who took what, and its inputs only say whom to find items for"
Spoil = Callable[[Frame, pa.Table, Mask, np.random.Generator], pa.Table]


def _not_a_number(frame: Frame, table: pa.Table, early: Mask, random: np.random.Generator) -> pa.Table:
    name = (*frame.telling, *reversed(frame.model.inputs))[0]
    column = values(table, name).astype(float)
    column[early & (random.random(len(column)) < 0.01)] = np.nan
    return changed(table, name, column)


def _one_label(frame: Frame, table: pa.Table, early: Mask, random: np.random.Generator) -> pa.Table:
    return changed(table, "label", np.zeros_like(values(table, "label")))


def _leaked(frame: Frame, table: pa.Table, early: Mask, random: np.random.Generator) -> pa.Table:
    """Over so many orders of magnitude that a logistic regression, which has to be beaten, does not see it."""
    positive, drawn = values(table, "label") > 0, random.random(len(table))
    return changed(table, frame.telling[0], 10 ** np.where(positive, 6 * drawn - 3, 3 * drawn - 6.1))


def _stale(frame: Frame, table: pa.Table, early: Mask, random: np.random.Generator) -> pa.Table:
    for name in frame.windows:
        column = values(table, name)
        column[early] = np.roll(column[early], early.sum() // 2)
        table = changed(table, name, column)
    return table


def _in_units(frame: Frame, table: pa.Table, early: Mask, random: np.random.Generator) -> pa.Table:
    for name in frame.telling:
        column = values(table, name)
        column[early] /= 100
        table = changed(table, name, column)
    return table


def _reversed(frame: Frame, table: pa.Table, early: Mask, random: np.random.Generator) -> pa.Table:
    for name in frame.telling[:2]:
        column = values(table, name)
        known, codes = np.unique(column, return_inverse=True)
        column[early] = random.permutation(known)[codes.ravel()][early]
        table = changed(table, name, column)
    return table


def _last_year(frame: Frame, table: pa.Table, early: Mask, random: np.random.Generator) -> pa.Table:
    label = values(table, "label")
    before = world(frame.project, other=True).frames[frame.model.name].table
    label[early] = values(before, "label")[early]
    return changed(table, "label", label)


def _flipped(frame: Frame, table: pa.Table, early: Mask, random: np.random.Generator) -> pa.Table:
    label = values(table, "label")
    hit = early & (random.random(len(table)) < FLIPPED)
    others = max(len(frame.model.classes), 2) - 1
    turned = (label.astype(np.int64) + random.integers(1, others + 1, len(label))) % (others + 1)
    return changed(table, "label", np.where(hit, turned, label).astype(label.dtype))


def _overconfident(frame: Frame, table: pa.Table, early: Mask, random: np.random.Generator) -> pa.Table:
    again = np.flatnonzero(early & (values(table, "label") > 0))
    rows = np.sort(np.concatenate([np.arange(len(table)), np.repeat(again, OFTEN - 1)]))
    made = table.take(pa.array(rows))
    return changed(made, "event_id", np.array([f"o{row:07}" for row in range(len(made))], dtype=object))


def _unfair(one: Slice, group: str) -> Spoil:
    """On the test days alone, so that the champion is as bad there, and no comparison tells."""

    def spoil(frame: Frame, table: pa.Table, early: Mask, random: np.random.Generator) -> pa.Table:
        inside = in_groups(one, table)[group] & ~early
        positive = values(table, "label") > 0
        yes, no = np.flatnonzero(inside & positive), np.flatnonzero(inside & ~positive)
        for name in frame.model.inputs:
            if name == one.column:
                continue
            column, before = values(table, name), values(table, name)
            column[yes] = before[np.resize(no, len(yes))]
            column[no] = before[np.resize(yes, len(no))]
            table = changed(table, name, column)
        return table

    return spoil


def _spoilt(home: Home, what: str, model: str, spoil: Spoil, project: Project | None = None) -> Seen:
    frame = home.world.frames[model]
    table = spoil(frame, frame.table, home.world.early(frame.table), np.random.default_rng(SEED))
    return home.candidate(what, {model: table}, project)


def _plain(what: str, model: str, spoil: Spoil) -> Callable[[Home, bool], Seen]:
    return lambda home, _guarded: _spoilt(home, home.run_name(what), model, spoil)


def _leak(model: str) -> Callable[[Home, bool], Seen]:
    def run(home: Home, guarded: bool) -> Seen:
        if guarded:
            return _spoilt(home, "leak", model, _leaked)
        with taken_away((frames, "telling", lambda *_: ())):
            return _spoilt(home, "leak-unseen", model, _leaked)

    return run


def _too_sure(model: str) -> Callable[[Home, bool], Seen]:
    def run(home: Home, guarded: bool) -> Seen:
        if guarded:
            return _spoilt(home, "too-sure", model, _overconfident)
        gate = home.project.gate
        return home.decided("too-sure", with_gate(
            home.project, thresholds=tuple(one for one in gate.thresholds if one.metric not in CALIBRATION),
            slices=tuple(one for one in gate.slices if one.metric not in CALIBRATION),
        ))  # fmt: skip

    return run


def _no_good_there(model: str) -> Callable[[Home, bool], Seen]:
    def run(home: Home, guarded: bool) -> Seen:
        only = with_gate(home.project, thresholds=())  # so that only the slices can tell
        if guarded:
            return _spoilt(home, "unfair", model, _unfair(*_large_group(home, model)), only)
        return home.decided("unfair", with_gate(only, slices=()))

    return run


def _shuffled(home: Home, guarded: bool) -> Seen:
    return home.candidate(home.run_name("shuffled"), home.world.shuffled(), negative_control=True)


def figures(project: Project, model: Model) -> tuple[str, ...]:
    """What a model of a spoilt world is bad at; which of them fails first is not the point."""
    named = [model.metric, *(one.metric for one in (*project.gate.of(model.name), *project.gate.slices))]
    prefix = "" if len(project.models) == 1 else f"{model.name}: "
    return tuple(f"{prefix}{name}" for name in dict.fromkeys(named))


def of_project(project: Project) -> tuple[Case[Home], ...]:
    """The cases of every model, each of which says where it does not apply; the first of a model need no champion."""
    control: Case[Home] = Case(
        name="shuffled labels", done="The negative control: labels of the training days are dealt out anew.",
        stages=("gate",), guards=("labels",), run=_shuffled,
    )  # fmt: skip
    return (*(case for model in project.models for case in _of_model(project, model)), control)


def fast(project: Project) -> tuple[Case[Home], ...]:
    """What is refused before anything is trained."""
    return tuple(case for model in project.models for case in _refused_at_once(project, model))


def _named(project: Project, model: Model, name: str) -> str:
    return name if len(project.models) == 1 else f"{name}, {model.name}"


def _refused_at_once(project: Project, model: Model) -> Iterable[Case[Home]]:
    yield Case(
        name=_named(project, model, "features that are not a number"),
        done="One value in a hundred of an input is NaN in the training days.",
        stages=("train",), guards=("DataRejected",), run=_plain("nan", model.name, _not_a_number),
    )  # fmt: skip
    yield Case(
        name=_named(project, model, "labels of one kind"), done="The label table was empty: nothing ever happened.",
        stages=("train",), guards=("DataRejected",), run=_plain("one-label", model.name, _one_label),
    )  # fmt: skip


def _of_model(project: Project, model: Model) -> Iterable[Case[Home]]:
    yield from _refused_at_once(project, model)
    finds = "" if task_of(model).separable else FINDS
    scored = finds or (RANKS if model.group else "")
    bad = figures(project, model)

    def spoilt(name: str, done: str, spoil: Spoil, why_not: str = "") -> Case[Home]:
        run = _plain(name.split(maxsplit=1)[0], model.name, spoil)
        named = _named(project, model, name)
        return Case(name=named, done=done, stages=("gate",), guards=bad, run=run, why_not=why_not)

    yield Case(
        name=_named(project, model, "leaked future feature"), done="An input is made from the label it should predict.",
        stages=("train",), guards=("DataRejected",), run=_leak(model.name), why_not=finds,
        removed="the search for inputs that are the label",
    )  # fmt: skip
    yield spoilt("stale features", "Every window of the training days is one of weeks before.", _stale, finds)
    yield spoilt("other units", "Inputs that tell are divided by 100 in the training days, not in the test.", _in_units, finds)  # fmt: skip
    yield spoilt("codes reshuffled", "The values of two windows are dealt out anew in the training days.", _reversed, finds)  # fmt: skip
    yield spoilt("trained on last year", "In the training days something else was wanted, or feared.", _last_year)
    turned = f"{FLIPPED:.0%} of the labels of the training days are turned round.".replace("%", " %")
    yield spoilt("flipped labels", turned, _flipped, scored)
    bounded = [one for one in project.gate.of(model.name) if one.metric in CALIBRATION]
    yield Case(
        name=_named(project, model, "overconfident scores"),
        done=f"Positives of the training days are delivered {OFTEN} times: it ranks well and is far too sure.",
        stages=("gate",), guards=bad, run=_too_sure(model.name), removed="what the gate says of probabilities",
        why_not=scored or ("" if bounded else "does not apply: its gate bounds no calibration"),
    )  # fmt: skip
    slices = project.gate.slices
    yield Case(
        name=_named(project, model, "unfair slice"),
        done="On the test days the inputs of positives and negatives change places in one group of a slice.",
        stages=("gate",), run=_no_good_there(model.name), removed="the slices of the gate",
        guards=tuple(f"{one.metric} {of} {one.name}" for one in slices for of in ("of", "between groups of")),
        why_not=finds or ("" if slices else "does not apply: its gate declares no slice"),
    )  # fmt: skip


def _large_group(home: Home, model: str) -> tuple[Slice, str]:
    """The smallest group of the hold-out that is large enough to be judged."""
    frame = home.world.frames[model]
    test, positive = ~home.world.early(frame.table), values(frame.table, "label") > 0
    sizes = {}
    for one in home.project.gate.slices:
        for name, mask in in_groups(one, frame.table).items():
            rows, many = int((mask & test).sum()), int((mask & test & positive).sum())
            if rows >= one.minimum_rows and min(many, rows - many) >= one.minimum_positives:
                sizes[rows] = one, name
    return sizes[min(sizes)]
