"""Which days a model learns from, is tuned on and is judged on; pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta

from jobs.errors import DataRejected
from jobs.spec import Split

MINIMUM_TRAIN_DAYS = 7


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The days of each part, in order; no day is in two, and none is labelled after the test days begin."""

    train: tuple[date, ...]
    validation: tuple[date, ...]
    test: tuple[date, ...]

    def items(self) -> tuple[tuple[str, tuple[date, ...]], ...]:
        """The parts by the names that a training frame uses."""
        return (("train", self.train), ("validation", self.validation), ("test", self.test))


def parts(split: Split, label_delay_days: int, as_of: date, known: Collection[date]) -> Parts:
    """The known days of each part, as of the end of a batch: the newest labelled days test, older ones train.

    The train window ends `split.delay_days` before the test begins and is as long as declared, or as what is known.
    Raises DataRejected when fewer than 7 days are left to train on, or none to validate or test on.
    """
    test_last = as_of - timedelta(days=label_delay_days)
    test_first = test_last - timedelta(days=split.test_days - 1)
    train_last = test_first - timedelta(days=split.delay_days + 1)
    train_first = train_last - timedelta(days=split.train_days - 1)
    validation_first = train_last - timedelta(days=split.validation_days - 1)
    days = sorted(known)
    found = Parts(
        train=tuple(day for day in days if train_first <= day < validation_first),
        validation=tuple(day for day in days if validation_first <= day <= train_last),
        test=tuple(day for day in days if test_first <= day <= test_last),
    )
    if len(found.train) < MINIMUM_TRAIN_DAYS or not found.test or (split.validation_days and not found.validation):
        raise DataRejected(
            f"too few labelled days as of {as_of}: {len(found.train)} to train on in {train_first}.."
            f"{validation_first - timedelta(days=1)} (at least {MINIMUM_TRAIN_DAYS}), {len(found.validation)} to "
            f"validate on up to {train_last}, {len(found.test)} to test on in {test_first}..{test_last}; "
            "run `tidemill features` for more days, or choose a later --as-of"
        )
    return found
