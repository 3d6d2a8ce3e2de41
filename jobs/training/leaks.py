"""Inputs that are the label in disguise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from jobs.training.binary_metrics import roc_auc

SEPARATES = 0.999
"""The AUC ROC from which on an input alone is too good to be honest, in either direction."""
_EACH = 20
"""Positives and negatives below which chance could do it; a gate asks for more before it lets a model pass."""


def telling(inputs: Sequence[str], vectors: NDArray[np.float64], label: NDArray[np.bool_]) -> Iterable[str]:
    """A sentence for each input, a column of the vectors, that alone tells positive from negative rows."""
    positives = int(label.sum())
    negatives = len(label) - positives
    if min(positives, negatives) < _EACH:
        return
    for index, name in enumerate(inputs):
        area = roc_auc(label, vectors[:, index])
        if max(area, 1 - area) >= SEPARATES:
            yield (
                f"input {name!r} alone tells the {positives:,} positives of the hold-out from the {negatives:,} others "
                f"(AUC ROC {area:.4f}): it was made from what it should predict. Delay the view it comes from, or take "
                "it out of the model's inputs"
            )
