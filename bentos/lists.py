"""Rows that name no item, completed: candidates are found, ranked and made a list; each item of it is a row of its own.

The rows are then answered like any others: scored, counted and logged. So whatever is on a list is in the prediction log
with the vector it was scored by, and what was only a candidate leaves no trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from bentos.decoding import Decoder, Refused
from bentos.places import Placed
from bentos.releases import Release
from bentos.scoring import Scoring
from jobs.policies import Offers
from jobs.retrieval.index import Catalogue
from jobs.retrieval.lists import listed


class Completed(NamedTuple):
    """The rows to answer, and of those that were made their places on their lists, 0 of the others."""

    rows: list[Any]
    places: list[int]


class Lists:
    """Makes lists of what a release finds."""

    def __init__(self, offers: Offers, item: tuple[str, ...], decoder: Decoder, scoring: Scoring) -> None:
        self._offers, self._item, self._decoder, self._scoring = offers, item, decoder, scoring

    def completed(self, release: Release, rows: Sequence[Any]) -> Completed:
        """Every row that names no item as the rows of its list, best first; the others as they are.

        Raises Refused with 422 for a row that names only a part of an item, and with 503 where the release finds nothing.
        """
        found, places = list[Any](), list[int]()
        for index, row in enumerate(rows):
            missing = [name for name in self._item if getattr(row, name) is msgspec.UNSET]
            if missing and len(missing) < len(self._item):
                raise Refused(422, f"Object missing required field `{missing[0]}`", field=missing[0], row=index)
            several = self._list(release, row) if missing else [row]
            found += several
            places += range(1, len(several) + 1) if missing else [0]
        return Completed(found, places)

    def shown(self, answers: Sequence[Placed], rows: Sequence[Any], places: Sequence[int]) -> list[Placed]:
        """The answers, those of lists with their item and in the order of the list, which is not that of scores alone."""
        names = (self._decoder.event_id, *self._item)
        return [
            msgspec.structs.replace(one, position=place, item={name: getattr(row, name) for name in names})
            if place
            else one
            for one, row, place in zip(answers, rows, places, strict=True)
        ]

    def _list(self, release: Release, row: Any) -> list[Any]:
        if release.catalogue is None:
            raise Refused(503, "no release that finds items", retry_after=5)
        history, nightly = self._scoring.history(self._with(row, np.zeros(len(self._item), dtype=np.int64), 0))
        items = self._candidates(release.catalogue, history, nightly)
        if not len(items):
            raise Refused(503, "the release knows no item to offer", retry_after=5)
        columns, vectors = release.catalogue.factors.of(items)
        rows = [self._with(row, column, place) for place, column in enumerate(columns, start=1)]
        scores = self._scoring.candidates(release, rows)
        named = dict(zip(self._item, columns.T, strict=True))
        rules, length, diversity = self._offers.rules, self._offers.length, self._offers.diversity
        chosen = listed(scores, vectors, named, rules, length=length, diversity=diversity)
        return [self._with(row, columns[one], place) for place, one in enumerate(chosen, start=1)]

    def _candidates(
        self, catalogue: Catalogue, history: NDArray[np.int64], nightly: NDArray[np.int64]
    ) -> NDArray[np.int64]:  # fmt: skip
        """What is nearest to the history, what was made ready at night, and what is popular; nothing that was had.

        What is nearest may all be alike: without the popular, rules would leave a list short.
        """
        found = dict.fromkeys(catalogue.best(history, self._offers.candidates).tolist())
        found |= dict.fromkeys(nightly.tolist())
        found |= dict.fromkeys(catalogue.factors.popular[: 3 * self._offers.length].tolist())
        had = set(history.tolist())
        return np.array([item for item in found if item not in had and catalogue.factors.knows(item)], dtype=np.int64)

    def _with(self, row: Any, item: NDArray[np.int64], place: int) -> Any:
        """The row about one item, with an id of its own."""
        columns: dict[str, Any] = dict(zip(self._item, item.tolist(), strict=True))
        return msgspec.structs.replace(
            row, **columns, **{self._decoder.event_id: f"{getattr(row, self._decoder.event_id)}-{place}"}
        )
