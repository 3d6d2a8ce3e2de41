"""Two orders in one list, and whose choices people prefer, list by list; pure.

Team-draft interleaving (Radlinski, Kurup and Joachims 2008, "How does clickthrough data reflect retrieval quality?"):
both sides see the same searches, so that it takes far fewer of them than halves of the traffic do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from itertools import zip_longest
from typing import Generic, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Side = Literal["candidate", "stable"]
Item = TypeVar("Item", bound=Hashable)


class Drafted(NamedTuple, Generic[Item]):
    """One place of an interleaved list: what is shown there, and whose choice it was."""

    item: Item
    side: Side
    agreed: bool
    """Whether both orders are the same down to here: then a lot chose the side, and a click says nothing of it."""


def draft(candidate: Sequence[Item], stable: Sequence[Item], search: str) -> list[Drafted[Item]]:
    """The interleaved list of two orders: whoever has chosen less chooses next, by lot where both have chosen as much.

    The same search gives the same lots, whoever draws them. What only one of the orders has is in the list as well.

    >>> [(one.item, one.side) for one in draft("abc", "bca", "of ships")]
    [('a', 'candidate'), ('b', 'stable'), ('c', 'candidate')]
    """
    orders, turns = (candidate, stable), len(candidate) + len(stable)
    sides: tuple[Side, Side] = ("candidate", "stable")
    lots = int.from_bytes(hashlib.shake_128(search.encode()).digest(turns // 8 + 1))
    at, chosen = [0, 0], [0, 0]
    found: dict[Item, Side] = {}
    for _ in range(turns):
        turn = lots & 1 if chosen[0] == chosen[1] else int(chosen[1] < chosen[0])
        lots >>= 1
        for side in (turn, 1 - turn):
            order = orders[side]
            while at[side] < len(order) and order[at[side]] in found:
                at[side] += 1
            if at[side] < len(order):
                found[order[at[side]]] = sides[side]
                chosen[side] += 1
                break
        else:
            break
    differ = next((at for at, (one, two) in enumerate(zip_longest(candidate, stable)) if one != two), turns)
    return [Drafted(item, side, at < differ) for at, (item, side) in enumerate(found.items())]


def preferences(
    lists: NDArray[np.int64], candidate: NDArray[np.bool_], clicked: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Of each list, by its number, 1 where more of the candidate's choices were clicked, -1 where more of the stable
    side's, 0 where as many; the arrays have a value for each row, and clicks where both agreed are left out of them.

    >>> yes, no = True, False
    >>> rows = np.array([0, 0, 1, 1, 2, 2])
    >>> preferences(rows, np.array([yes, no, yes, no, yes, no]), np.array([yes, no, no, yes, yes, yes])).tolist()
    [1, -1, 0]
    """
    votes = np.where(candidate, 1, -1) * clicked
    return np.sign(np.bincount(lists, weights=votes, minlength=1 if len(lists) else 0)).astype(np.int64)
