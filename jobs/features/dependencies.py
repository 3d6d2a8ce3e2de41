"""Which model inputs change with which features: found by asking `features.request`, not by declaring it twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.projects import hook
from jobs.spec import Column, Project

FOUND = "found"
_ROWS, _ROUNDS, _SEED = 512, 4, 20_261_121
_DAY = 86_400_000_000
_LARGEST = 10**7

Arrays = Mapping[str, NDArray[Any]]


def dependencies(project: Project) -> dict[str, frozenset[tuple[str, str]]]:
    """For each input of the project's last model, the (view, feature) pairs that it changes with.

    A feature called `found` is whether the view has a value at all. Every feature is changed alone, a few
    thousand times, on made-up rows with zeros, small and large numbers: the same code gives the same answer.
    """
    random, request = np.random.default_rng(_SEED), hook(project, "features").request
    names = project.models[-1].inputs
    found: dict[str, set[tuple[str, str]]] = {name: set() for name in names}
    for _ in range(_ROUNDS):
        payload, features = _payload(project, random), _features(project, random)
        before = _vectors(request, payload, features)
        for view in project.every_view:
            for feature in (*view.features, FOUND):
                changed = {**features, view.name: {**features[view.name], feature: _other(feature, random)}}
                differs = (_vectors(request, payload, changed) != before).any(axis=0)
                for index in np.flatnonzero(differs).tolist():
                    found[names[index]].add((view.name, feature))
    return {name: frozenset(pairs) for name, pairs in found.items()}


def _vectors(request: Any, payload: Arrays, features: Mapping[str, Arrays]) -> NDArray[np.int64]:
    """The inputs as bits, so that a NaN equals itself."""
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(request(payload, features), dtype=np.float64).view(np.int64)


def _features(project: Project, random: np.random.Generator) -> dict[str, dict[str, NDArray[Any]]]:
    return {view.name: {name: _other(name, random) for name in (*view.features, FOUND)} for view in project.every_view}


def _other(feature: str, random: np.random.Generator) -> NDArray[Any]:
    if feature == FOUND:
        return random.uniform(size=_ROWS) < 0.8
    return _integers(random, 0, _LARGEST)


def _payload(project: Project, random: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Rows as a request carries them: the columns of the first source that may not be null."""
    return {column.name: _column(column, random) for column in project.sources[0].columns if not column.nullable}


def _column(column: Column, random: np.random.Generator) -> NDArray[Any]:
    match column.type:
        case "timestamp":
            return random.integers(18_000 * _DAY, 22_000 * _DAY, _ROWS)
        case "string":
            return np.array([f"{column.name}-{one}" for one in random.integers(0, 40, _ROWS)], dtype=np.object_)
        case "boolean":
            return random.uniform(size=_ROWS) < 0.5
    low = 0 if column.minimum is None else column.minimum
    high = max(low, _LARGEST) if column.maximum is None else column.maximum
    whole = _integers(random, low, high)
    return whole if column.type == "integer" else np.clip(whole + random.uniform(size=_ROWS), low, high)


def _integers(random: np.random.Generator, low: int, high: int) -> NDArray[np.int64]:
    """Numbers of every magnitude between the bounds; the least of them often enough to meet a test for it."""
    spread = np.expm1(random.uniform(0, np.log1p(float(high - low)), _ROWS))
    whole = np.minimum(low + spread.astype(np.int64), high)
    return np.where(random.uniform(size=_ROWS) < 0.1, low, whole)
