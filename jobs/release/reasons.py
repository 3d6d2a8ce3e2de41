"""A score's reasons in words: the standard library and numpy only, because serving imports it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.spec import Model


def reasons(
    model: Model, vector: NDArray[np.float64], contributions: NDArray[np.float64], n: int = 3
) -> list[dict[str, Any]]:
    """The n inputs that moved a score most, greatest first: `input`, `value`, `contribution` (log-odds) and `text`.

    `vector` is one row as `bits.told` has it, and `contributions` one as `Scorer.explain` gives it: its last column,
    the base, is no reason. Inputs that moved nothing are left out; of equal ones the first declared comes first.
    Raises ValueError when their lengths do not fit the model, or a contribution is not finite.
    """
    if vector.shape != (len(model.told),) or contributions.shape != (len(model.told) + 1,):
        raise ValueError(
            f"a vector of shape {vector.shape} and contributions of shape {contributions.shape} do not fit "
            f"the {len(model.told)} inputs of model {model.name!r} and the base"
        )
    if not np.isfinite(contributions).all():
        raise ValueError(f"the contributions to a score of model {model.name!r} are not all finite")
    moved = contributions[:-1]
    greatest = [int(index) for index in np.argsort(-np.abs(moved), kind="stable") if moved[index]][: max(n, 0)]
    values = dict(zip(model.told, map(float, vector), strict=True))
    declared = {reason.input: reason for reason in model.reasons}
    found = []
    for index in greatest:
        name, value, contribution = model.told[index], float(vector[index]), float(moved[index])
        reason = declared.get(name)
        said = reason.say(value, values) if reason else f"{name.replace('_', ' ')} is {value:g}"
        text = f"{said} ({'raises' if contribution > 0 else 'lowers'} the score)"
        found.append({"input": name, "value": value, "contribution": contribution, "text": text})
    return found
