"""Answers of a ranking: the rows of a request that share a group are each other's candidates."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import msgspec

from bentos.scoring import Drafted, Prediction


class Placed(msgspec.Struct, frozen=True, gc=False):
    """The answer for one row of a ranking."""

    score: float
    """From 0 to 1, for the order alone: it is no probability, and says nothing beside another group's or release's."""
    position: int
    """Among the rows of the request with the same group: 1 is first."""
    release: str
    request_id: str
    slot: str
    degraded: bool
    degraded_by: tuple[str, ...]
    unknown: tuple[str, ...]
    item: dict[str, str | int] | msgspec.UnsetType = msgspec.UNSET
    """Of a list that was made here: the event's id and the item's own columns; `position` is its place on the list."""


def placed(answers: Sequence[Prediction], groups: Sequence[Hashable], decimals: int | None = None) -> list[Placed]:
    """Each answer with its position in its group, a drafted one as it was drafted; of equal scores the row that was named
    first comes first."""
    places, taken = [0] * len(answers), dict.fromkeys(groups, 0)
    for index in sorted(range(len(answers)), key=lambda index: -answers[index].probability):
        taken[groups[index]] += 1
        places[index] = taken[groups[index]]
    places = [one.position if isinstance(one, Drafted) else place for one, place in zip(answers, places, strict=True)]
    return [
        Placed(
            one.probability if decimals is None else round(one.probability, decimals),
            place, one.release, one.request_id, one.slot, one.degraded, one.degraded_by, one.unknown,
        )
        for one, place in zip(answers, places, strict=True)
    ]  # fmt: skip
