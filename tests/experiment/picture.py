"""The picture of docs/experiments.md: `python -m tests.experiment.picture`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jobs.experiment.design import design
from jobs.experiment.picture import interval
from jobs.experiment.reading import Arms, Assignment, curve
from tests.experiment.simulated import POLICY, baseline, side

if __name__ == "__main__":
    random = np.random.default_rng(3)
    labels = design(POLICY, baseline(), 0).labels
    arms = Arms(
        assignment=Assignment(candidate=1, stable=1, crossed=0), candidate=side(random, labels // 2, 0.05),
        stable=side(random, labels // 2, 0.0),
    )  # fmt: skip
    days = [{**one, "day": one["day"].replace("1970", "2026")} for one in curve(POLICY, arms, labels)]
    page = Path(__file__).resolve().parents[2] / "docs" / "experiments.png"
    interval(page, days, POLICY.primary.name, POLICY.minimum_effect)
    print(page)
