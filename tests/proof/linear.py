"""Linear models of what a project's requests say by themselves: releases that walk, without a training."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.features.vectors import payload, transform
from jobs.projects import PROJECTS
from jobs.spec import Model
from tests.proof.traffic import requests
from tests.releases import columns_of

Weights = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """The inputs that a project's requests have where no entity is known, and the one of them that differs most."""

    model: Model
    vectors: NDArray[np.float64]
    place: int

    def weights(self, seed: int | None = None, *, shift: float = 0.0, slope: float = 1.2) -> Weights:
        """A linear model of that input; of a seed, one whose numbers are a few percent off."""
        terms, spread = columns_of(self.model), self.vectors.std(axis=0)
        noise = np.random.default_rng(seed).normal(0, 0.02, terms) if seed else np.zeros(terms)
        numbers = len(self.model.inputs) - (self.model.flags.numbers if self.model.flags else 0)
        mean, scale = self.vectors.mean(axis=0), np.where(spread > 0, spread, 1.0)
        mean[numbers:], scale[numbers:] = 0.0, 1.0
        coefficients = np.where(np.arange(terms) < numbers, noise / 10, 0.0) * (slope != 0)
        coefficients[self.place] = slope * (1 + noise[0])
        several = len(self.model.classes)
        first = [np.zeros(terms)] if several else []
        made = {"mean": mean.tolist(), "scale": scale.tolist(), "coefficients": coefficients.tolist(), "intercept": -1.5 + shift}  # fmt: skip
        if several:
            made["coefficients"] = np.array([*first, *[coefficients] * (several - 1)]).tolist()
            made["intercept"] = [0.0, *[made["intercept"]] * (several - 1)]
        return made

    def undefined_above(self, share: float) -> Weights:
        """Weights whose score is one number, and none for the greatest of these inputs: their spread underflowed."""
        made, above = self.weights(slope=0.0), float(np.quantile(self.vectors[:, self.place], share))
        made["mean"][self.place], made["scale"][self.place] = 0.0, above / sys.float_info.max
        return made


@cache
def asked(name: str) -> Asked:
    """What a simulated day asks of the project's last model."""
    project = PROJECTS[name]
    model, simulated = project.models[-1], [row for rows in requests(name) for row in rows]
    table = pa.Table.from_pylist(simulated)
    times = pa.array([datetime.fromisoformat(row["event_time"]) for row in simulated], pa.timestamp("us", "UTC"))
    request = payload(project, table.set_column(table.column_names.index("event_time"), "event_time", times))
    nothing = np.zeros(len(table), dtype=np.int64)
    views = {view.name: dict.fromkeys((*view.features, "found"), nothing) for view in project.every_view}
    vectors = transform(project)(request, views)
    numbers = len(model.inputs) - (model.flags.numbers if model.flags else 0)
    different = [len(np.unique(column)) for column in vectors[:, :numbers].T]
    return Asked(model, vectors, int(np.argmax(different)))
