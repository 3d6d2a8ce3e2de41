"""Vectors whose last numbers are flags, as models see them: a column for every flag. numpy; scipy where rows are many."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.flags import BITS

Vectors = NDArray[np.float64]
_BYTES = BITS // 8


def dense(vectors: Vectors, numbers: int, absent: float = 0.0) -> Vectors:
    """(rows, inputs) as (rows, plain inputs + flags): 1.0 where a flag is set, `absent` where not."""
    if not numbers:
        return vectors
    flags = np.where(_bits(vectors, numbers), 1.0, absent)
    return np.ascontiguousarray(np.concatenate([vectors[:, :-numbers], flags], axis=1))


def sparse(vectors: Vectors, numbers: int) -> Any:
    """The same as a scipy CSR matrix that holds every plain input, zeros included, and the flags that are set.

    Without flags the vectors themselves.
    """
    if not numbers:
        return vectors
    from scipy.sparse import csr_matrix

    plain = vectors.shape[1] - numbers
    there = np.concatenate([np.ones((len(vectors), plain), dtype=np.bool_), _bits(vectors, numbers)], axis=1)
    rows, columns = np.nonzero(there)
    values = np.ones(len(columns))
    values[columns < plain] = vectors[:, :plain].reshape(-1)
    pointers = np.searchsorted(rows, np.arange(len(vectors) + 1))
    return csr_matrix((values, columns.astype(np.int32), pointers.astype(np.int32)), shape=there.shape)


def folded(contributions: Vectors, plain: int, numbers: int) -> Vectors:
    """Contributions with those of all flags, which begin at column `plain`, as one column in their place."""
    if not numbers:
        return contributions
    end = plain + numbers * BITS
    block = contributions[..., plain:end].sum(axis=-1, keepdims=True)
    return np.concatenate([contributions[..., :plain], block, contributions[..., end:]], axis=-1)


def told(vectors: Vectors, numbers: int) -> Vectors:
    """Vectors as a person is told them: of the flags how many are set."""
    if not numbers:
        return vectors
    count = _bits(vectors, numbers).sum(axis=1, keepdims=True).astype(np.float64)
    return np.concatenate([vectors[:, :-numbers], count], axis=1)


def _bits(vectors: Vectors, numbers: int) -> NDArray[np.bool_]:
    packed = np.ascontiguousarray(vectors[:, -numbers:]).astype("<i8")
    octets = packed.view(np.uint8).reshape(len(vectors), numbers, 8)[:, :, :_BYTES]
    return np.unpackbits(octets, axis=2, bitorder="little").reshape(len(vectors), numbers * BITS).astype(np.bool_)
