"""From ranked candidates to a list: what was had is left out, rules are kept, and what is alike is spread out. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from jobs.policies import Rule

Floats = NDArray[np.float64]
Columns = Mapping[str, NDArray[np.int64]]


def allowed_by(rule: Rule, columns: Columns) -> NDArray[np.bool_]:
    """Which items a rule lets be on a list at all."""
    values = columns[rule.column]
    low = -np.inf if rule.minimum is None else rule.minimum
    high = np.inf if rule.maximum is None else rule.maximum
    return np.asarray((values >= low) & (values <= high), dtype=np.bool_)


def listed(
    scores: Floats, vectors: Floats, columns: Columns, rules: Sequence[Rule], *, length: int, diversity: float
) -> list[int]:
    """The places of the candidates that make the list, in its order.

    Greedy by maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998): next comes the candidate with the
    greatest (1 - diversity) * relevance - diversity * its greatest cosine to any chosen before, among those that the
    rules still allow. Relevance is the score's place between the least and the greatest, from 0 to 1; of equal ones the
    first comes first. `vectors` has a row for each candidate; a row of zeros is like nothing.
    """
    allowed = np.ones(len(scores), dtype=np.bool_)
    for rule in rules:
        allowed &= allowed_by(rule, columns)
    spread = np.ptp(scores) if len(scores) else 0.0
    relevance = (scores - scores.min()) / spread if spread else np.zeros(len(scores))
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, norms, out=np.zeros_like(vectors, dtype=np.float64), where=norms > 0)
    nearest, chosen = np.zeros(len(scores)), list[int]()
    while len(chosen) < length and allowed.any():
        worth = np.where(allowed, (1 - diversity) * relevance - diversity * nearest, -np.inf)
        best = int(worth.argmax())
        chosen.append(best)
        allowed[best] = False
        likeness = unit @ unit[best]
        nearest = likeness if len(chosen) == 1 else np.maximum(nearest, likeness)
        for rule in rules:
            values = columns[rule.column]
            if rule.at_most is not None and int((values[chosen] == values[best]).sum()) >= rule.at_most:
                allowed &= values != values[best]
    return chosen
