"""Bad candidates: each is trained by the stages on a world that somebody spoilt, while the champion knew the clean one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.batch import day_start
from jobs.training import frame as frames
from tests.proof.case import SEED, Case, Seen, taken_away
from tests.proof.home import SIGNAL, Home, declared, without_thresholds
from tests.training.synthetic import PLAN, frame

LATER = 7_000
"""By how many rows, about two weeks of them, stale features come late."""
OFTEN = 12
"""How many times too often positives are delivered."""
Mask = NDArray[np.bool_]
Spoil = Callable[[pa.Table, Mask, np.random.Generator], pa.Table]


def changed(table: pa.Table, name: str, values: NDArray[Any]) -> pa.Table:
    """The table with another column under that name."""
    return table.set_column(table.column_names.index(name), name, pa.array(values))


def values(table: pa.Table, name: str) -> NDArray[Any]:
    """A column, to be changed."""
    return np.asarray(table[name]).copy()


def _before_the_test(table: pa.Table) -> Mask:
    begins = np.datetime64(day_start(PLAN.final.test.first).replace(tzinfo=None))
    early: Mask = np.asarray(table["event_time"]).astype("datetime64[us]") < begins
    return early


def _leaked(table: pa.Table, early: Mask, random: np.random.Generator) -> pa.Table:
    """Over so many orders of magnitude that a logistic regression, which has to be beaten, does not see it."""
    label, drawn = values(table, "label"), random.random(len(table))
    return changed(table, "terminal_risk_7d", 10 ** np.where(label, 6 * drawn - 3, 3 * drawn - 6.1))


def _stale(table: pa.Table, early: Mask, random: np.random.Generator) -> pa.Table:
    for name in table.column_names:
        if name.startswith(("terminal_", "customer_")) and not name.endswith("_id"):
            column = values(table, name)
            column[early] = np.roll(column[early], LATER)
            table = changed(table, name, column)
    return table


def _in_units(table: pa.Table, early: Mask, random: np.random.Generator) -> pa.Table:
    column = values(table, "amount")
    column[early] /= 100
    return changed(table, "amount", column)


def _reshuffled(table: pa.Table, early: Mask, random: np.random.Generator) -> pa.Table:
    codes = {"is_night": 1 - values(table, "is_night"), "is_weekend": 1 - values(table, "is_weekend")}
    codes["terminal_risk_30d"] = random.permutation(values(table, "terminal_risk_30d"))
    for name, other in codes.items():
        column = values(table, name)
        column[early] = other[early]
        table = changed(table, name, column)
    return table


def _last_year(table: pa.Table, early: Mask, random: np.random.Generator) -> pa.Table:
    """Before the kind of fraud at night came up."""
    return changed(table, "label", values(table, "label") & ~(early & (values(table, "is_night") == 1)))


def _flipped(table: pa.Table, early: Mask, random: np.random.Generator) -> pa.Table:
    hit = early & (random.random(len(table)) < 0.05)
    return changed(table, "label", np.where(hit, ~values(table, "label"), values(table, "label")))


def _overconfident(table: pa.Table, early: Mask, random: np.random.Generator) -> pa.Table:
    again = np.flatnonzero(early & values(table, "label"))
    rows = np.concatenate([np.arange(len(table)), np.repeat(again, OFTEN - 1)])
    made = table.take(pa.array(np.sort(rows)))
    return changed(made, "event_id", np.array([f"t{row:07}" for row in range(len(made))], dtype=object))


def _unfair(table: pa.Table, early: Mask, random: np.random.Generator) -> pa.Table:
    """On the test days as well: the champion is as bad there, so that no comparison tells."""
    weekend = np.flatnonzero(values(table, "is_weekend") == 1)
    others = random.permutation(weekend)
    for name in declared().models[0].inputs:
        column = values(table, name)
        column[weekend] = column[others]
        table = changed(table, name, column)
    return table


def _not_a_number(table: pa.Table, early: Mask, random: np.random.Generator) -> pa.Table:
    column = values(table, "customer_mean_amount_7d").astype(float)
    column[early & (random.random(len(column)) < 0.01)] = np.nan
    return changed(table, "customer_mean_amount_7d", column)


def _one_class(table: pa.Table, early: Mask, random: np.random.Generator) -> pa.Table:
    return changed(table, "label", np.zeros(len(table), dtype=bool))


def _spoilt(name: str, spoil: Spoil) -> Callable[[Home, bool], Seen]:
    def run(home: Home, guarded: bool) -> Seen:
        table = frame(signal=SIGNAL)
        table = spoil(table, _before_the_test(table), np.random.default_rng(SEED))
        return home.candidate(home.run_name(name), table)

    return run


def _shuffled(home: Home, guarded: bool) -> Seen:
    table = frame(signal=SIGNAL, negative_control=True)
    return home.candidate(home.run_name("shuffled"), table, negative_control=True)


def _leak(home: Home, guarded: bool) -> Seen:
    table = frame(signal=SIGNAL)
    table = _leaked(table, _before_the_test(table), np.random.default_rng(SEED))
    if guarded:
        return home.candidate(home.run_name("leak"), table)
    with taken_away((frames, "telling", lambda *_: ())):
        return home.candidate(home.run_name("leak"), table)


def _too_sure(home: Home, guarded: bool) -> Seen:
    if guarded:
        table = frame(signal=SIGNAL)
        table = _overconfident(table, _before_the_test(table), np.random.default_rng(SEED))
        return home.candidate("too-sure", table)
    project = without_thresholds(declared(), "expected_calibration_error", "mean_prediction_ratio")
    return home.decided("too-sure", project)


def _no_good_on_weekends(home: Home, guarded: bool) -> Seen:
    project = without_thresholds(declared(), "expected_calibration_error")  # so that only the slices can tell
    if guarded:
        table = frame(signal=SIGNAL)
        return home.candidate("unfair", _unfair(table, _before_the_test(table), np.random.default_rng(SEED)), project)
    return home.decided("unfair", replace(project, gate=replace(project.gate, slices=())))


FIGURES = ("average_precision", "roc_auc", "expected_calibration_error", "mean_prediction_ratio")
"""What a model of a spoilt world is bad at; which of them fails first is not the point."""
FAST: tuple[Case[Home], ...] = (
    Case(
        name="features that are not a number", done="One value in a hundred of an input is NaN in the training days.",
        stages=("train",), guards=("DataRejected",), run=_spoilt("nan", _not_a_number),
    ),
    Case(
        name="labels of one class", done="The label table was empty: every payment looks genuine.",
        stages=("train",), guards=("DataRejected",), run=_spoilt("one-class", _one_class),
    ),
)  # fmt: skip
SLOW: tuple[Case[Home], ...] = (
    Case(
        name="leaked future feature", done="An input is made from the label it should predict.",
        stages=("train",), guards=("DataRejected",), run=_leak, removed="the search for inputs that are the label",
    ),
    Case(
        name="shuffled labels", done="The negative control: labels of the training days are dealt out anew.",
        stages=("gate",), guards=("labels",), run=_shuffled,
    ),
    Case(
        name="stale features", done=f"Every window of the training days is that of {LATER:,} payments before.",
        stages=("gate",), guards=FIGURES, run=_spoilt("stale", _stale),
    ),
    Case(
        name="cents become units", done="Amounts of the training days are divided by 100, those of the test are not.",
        stages=("gate",), guards=FIGURES, run=_spoilt("units", _in_units),
    ),
    Case(
        name="category codes reshuffled", done="In the training days 0 and 1 of two inputs change places and a third is dealt out anew.",
        stages=("gate",), guards=FIGURES, run=_spoilt("codes", _reshuffled),
    ),
    Case(
        name="trained on last year", done="The training days are from before fraud at night began.",
        stages=("gate",), guards=FIGURES, run=_spoilt("last-year", _last_year),
    ),
    Case(
        name="flipped labels", done="5 % of the labels of the training days are turned round.",
        stages=("gate",), guards=FIGURES, run=_spoilt("flipped", _flipped),
    ),
    Case(
        name="overconfident scores", done=f"Frauds of the training days are delivered {OFTEN} times: it ranks well and is far too sure.",
        stages=("gate",), guards=("expected_calibration_error", "mean_prediction_ratio"), run=_too_sure,
        removed="the thresholds on calibration",
    ),
    Case(
        name="unfair slice", done="The inputs of weekend payments belong to other payments: it is no good for who pays then.",
        stages=("gate",), guards=("roc_auc of weekday weekend",), run=_no_good_on_weekends,
        removed="the slices of the gate",
    ),
)  # fmt: skip
