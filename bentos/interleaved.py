"""Lists that two releases make together: the slot's own and the one that it holds beside it while an experiment runs.

Both score the same vectors, read once; a list's places are then drafted (`jobs.experiment.interleaving`), and each row's
answer is that of the release which chose it.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Hashable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from bentos import metrics
from bentos.releases import Release, Releases
from bentos.scoring import Drafted, Prediction
from bentos.turns import Lists
from jobs.experiment.interleaving import draft
from jobs.rollout.slots import BESIDE_SECONDS

log = logging.getLogger("tidemill.interleaved")


class Interleaved:
    """Holds the release beside the slot's own for as long as the slot is told to."""

    def __init__(self, releases: Releases) -> None:
        self._releases = releases
        self.release: Release | None = None
        self._over = threading.Event()

    def start(self, own: Release) -> None:
        """Loads the release that the assignment names beside its own, if it does, and watches that it still does."""
        self.release = self._releases.beside(own)
        if self.release:
            log.info("lists of %s are interleaved with those of %s", own.name, self.release.name)
            threading.Thread(target=self._watch, name="interleaved", daemon=True).start()

    def stop(self) -> None:
        """Returns at once; the watch ends by itself."""
        self._over.set()

    def drafted(
        self, beside: Release, answers: Sequence[Prediction], vectors: NDArray[np.float64], requests: Sequence[Lists]
    ) -> list[Prediction]:  # fmt: skip
        """The answers, those on lists of two rows or more drafted from both orders; where the other release's scores
        are no numbers they stay as they are."""
        scores = _scores(beside, vectors)
        found, first = list(answers), 0
        for request in requests:
            lists: dict[Hashable, list[int]] = {}
            for row, name in enumerate(request, start=first):
                lists.setdefault(name, []).append(row)
            first += len(request)
            for name, rows in lists.items():
                both = name is not None and len(rows) > 1 and all(math.isfinite(scores[row]) for row in rows)
                metrics.LISTS.labels("both" if both else "own").inc()
                if both:
                    _draft(found, rows, scores, str(name), beside.name)
        return found

    def _watch(self) -> None:
        while not self._over.wait(BESIDE_SECONDS):
            if self._releases.apart():
                self.release = None
                log.info("lists are the slot's own again")
                return


def _draft(found: list[Prediction], rows: list[int], scores: list[float], name: str, beside: str) -> None:
    own = sorted(rows, key=lambda row: -found[row].probability)
    theirs = sorted(rows, key=lambda row: -scores[row])
    mine = found[rows[0]].release
    for position, (row, side, agreed) in enumerate(draft(own, theirs, name), start=1):
        values, whose, other = msgspec.structs.asdict(found[row]), mine, beside
        if side == "stable":
            whose, other = beside, mine
            values |= {"probability": scores[row], "release": beside}
        found[row] = Drafted(**values, position=position, beside=whose if agreed else other)


def _scores(beside: Release, vectors: NDArray[np.float64]) -> list[float]:
    nothing = np.full(len(vectors), np.nan)
    try:
        scores = beside.scorer.score(vectors) if beside.scorer else nothing
    except Exception:  # whatever the other release does, the slot answers by its own
        log.exception("%s could not score %s rows", beside.name, len(vectors))
        scores = nothing
    return scores.tolist()
