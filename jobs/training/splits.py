"""Which days a model learns from, is tuned and calibrated on, and is judged on; pure.

Prequential validation with a label delay, as the Fraud Detection Handbook describes it (chapter 5,
"Validation strategies"): train, wait until those labels are known, test; and the same in the past.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.batch import Batches
from jobs.errors import DataRejected
from jobs.spec import Split

_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, kw_only=True)
class Fold:
    """The days a model learns from, and the later ones it is judged on."""

    train: Batches
    test: Batches

    def earlier(self, days: int) -> Fold:
        """The same fold, some days before."""
        return Fold(train=_shifted(self.train, days), test=_shifted(self.test, days))

    def document(self) -> dict[str, list[str]]:
        """The first and last day of each part, as JSON."""
        return {"train": [str(self.train.first), str(self.train.last)], "test": [str(self.test.first), str(self.test.last)]}  # fmt: skip

    @staticmethod
    def of(document: Any) -> Fold:
        """The fold that `document` wrote."""
        days = {name: Batches(*map(date.fromisoformat, document[name])) for name in ("train", "test")}
        return Fold(**days)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The final fold, and the folds before it that choose what is trained on it."""

    final: Fold
    validation: tuple[Fold, ...]
    """Newest first; none tests on a day that was not labelled when the final training begins."""
    left_out: tuple[Fold, ...] = ()
    """Those the split asks for that history is too short for."""

    @property
    def tuning(self) -> tuple[Fold, ...]:
        """Where parameters are compared: all but the newest, or the first half of the only one's test days."""
        if len(self.validation) > 1:
            return self.validation[1:]
        only = self.validation[0]
        return (Fold(train=only.train, test=Batches(only.test.first, _middle(only.test))),)

    @property
    def calibration(self) -> Fold:
        """Where probabilities are calibrated, on days that tuned nothing: the newest, or the rest of the only one."""
        newest = self.validation[0]
        if len(self.validation) > 1:
            return newest
        return Fold(train=newest.train, test=Batches(_middle(newest.test) + timedelta(days=1), newest.test.last))

    @property
    def folds(self) -> tuple[Fold, ...]:
        """Every fold, the final one first."""
        return (self.final, *self.validation)

    @property
    def days(self) -> Batches:
        """From the first day any fold learns from to the last it is judged on."""
        return Batches(min(fold.train.first for fold in self.folds), self.final.test.last)

    def document(self) -> dict[str, Any]:
        """The plan as JSON: `batches` (of the final fold), `validation` and `left_out`."""
        return {
            "batches": self.final.document(),
            "validation": [fold.document() for fold in self.validation],
            "left_out": [fold.document() for fold in self.left_out],
        }

    @staticmethod
    def of(document: Any) -> Plan:
        """The plan that `document` wrote."""
        return Plan(
            final=Fold.of(document["batches"]),
            validation=tuple(map(Fold.of, document["validation"])),
            left_out=tuple(map(Fold.of, document["left_out"])),
        )


def plan(split: Split, label_delay_days: int, as_of: date, known: Collection[date]) -> Plan:
    """The folds as of the end of a batch: the newest labelled days test.

    A fold counts when at least half of its train days and half of its test days are known. Raises
    DataRejected when the final one does not, or no other.
    """
    last = as_of - timedelta(days=label_delay_days)
    planned = plan_of(split, last - timedelta(days=span(split) - 1))
    return usable(planned, known, f"as of {as_of}", "choose a later --as-of")


def usable(planned: Plan, known: Collection[date], when: str, otherwise: str) -> Plan:
    """The plan without the folds whose days are not known; raises DataRejected as `plan` does, naming the way out."""
    faults = _shortfall(planned.final, known)
    found = tuple(fold for fold in planned.validation if not _shortfall(fold, known))
    if not found:
        faults += _shortfall(planned.validation[0], known)
    if faults:
        raise DataRejected(
            f"too few labelled days {when}: {'; '.join(faults)}; run `tidemill features` for more days, or {otherwise}"
        )
    left_out = tuple(fold for fold in planned.validation if fold not in found)
    return Plan(final=planned.final, validation=found, left_out=left_out)


def plan_of(split: Split, first: date) -> Plan:
    """The plan whose final training begins on a day, however much of it is known."""
    test = first + timedelta(days=split.train_days + split.delay_days)
    final = Fold(
        train=Batches(first, first + timedelta(days=split.train_days - 1)),
        test=Batches(test, test + timedelta(days=split.test_days - 1)),
    )
    newest = split.delay_days + split.test_days
    return Plan(
        final=final, validation=tuple(final.earlier(newest + split.test_days * fold) for fold in range(split.folds))
    )


def span(split: Split) -> int:
    """How many days a fold takes, from its first train day to its last test day."""
    return split.train_days + split.delay_days + split.test_days


def learned(fold: Fold, day: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rows a fold learns from, by their day since 1970."""
    return _within(fold.train, day)


def judged(
    fold: Fold, split: Split, day: NDArray[np.int64], entity: NDArray[np.int64], label: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which rows a fold is judged on: those of its test days, without the entities known by then if the split drops them.

    `entity` is a number from 0 for each. The rows must be all there are from the fold's first train day to its last test day: the positives of the
    days between are what is known. The handbook's `get_train_test_set` does the same.
    """
    rows = _within(fold.test, day)
    if not split.drop_known or not rows.any():
        return rows
    since = np.full(entity.max() + 1, np.iinfo(np.int64).max)
    positive = label & (day >= _number(fold.train.first))
    np.minimum.at(since, entity[positive], day[positive] + split.delay_days + 1)
    return np.asarray(rows & (day < since[entity]), dtype=np.bool_)


def _within(days: Batches, day: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.asarray((day >= _number(days.first)) & (day <= _number(days.last)), dtype=np.bool_)


def _number(day: date) -> int:
    return (day - _EPOCH).days


def _shifted(days: Batches, by: int) -> Batches:
    return Batches(days.first - timedelta(days=by), days.last - timedelta(days=by))


def _middle(days: Batches) -> date:
    return days.first + timedelta(days=(len(days) - 1) // 2)


def _shortfall(fold: Fold, known: Collection[date]) -> list[str]:
    return list(_short(fold, known))


def _short(fold: Fold, known: Collection[date]) -> Iterator[str]:
    for what, days in (("train", fold.train), ("test", fold.test)):
        found = sum(day in known for day in days)
        if 2 * found < len(days):
            yield f"{found} of {len(days)} days to {what} on in {days}"
