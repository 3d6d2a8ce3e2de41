"""From rows to predictions: features looked up, vectors made, scored and decided."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from bentos.decoding import Decoder, Refused
from bentos.lookup import Found, Lookup
from bentos.releases import Release
from jobs.features.vectors import online, transform
from jobs.projects import hook
from jobs.release.probability import score_of
from jobs.retrieval.factors import NOTHING
from jobs.settings import Settings
from jobs.spec import Project


class Prediction(msgspec.Struct, frozen=True, gc=False):
    """The answer for one row."""

    probability: float
    decision: str
    release: str
    request_id: str
    slot: str
    degraded: bool
    degraded_by: tuple[str, ...]
    """What is lacking: features, or the release that the slot is told to serve."""
    unknown: tuple[str, ...]
    said: str | msgspec.UnsetType = msgspec.field(name="class", default=msgspec.UNSET)
    """Of a multi-class model: the class that the row is said to be of."""
    classes: dict[str, float] | msgspec.UnsetType = msgspec.UNSET
    """Of a multi-class model: the probability of each class; `probability` is that of any but the first."""


class Drafted(Prediction, frozen=True, gc=False, kw_only=True):
    """The answer for one row of an interleaved list, by the release that chose it."""

    position: int
    beside: str
    """The other release; where both orders are the same down to here, this one itself."""


Answer = TypeVar("Answer", bound=Prediction)


def _finite(release: Release, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    if not np.isfinite(scores).all():
        raise Refused(500, f"release {release.name} answered something that is not a number")
    return scores


def rounded_answer(one: Answer, decimals: int) -> Answer:
    """The same with its probabilities rounded."""
    told = {name: round(value, decimals) for name, value in one.classes.items()} if one.classes else one.classes
    return msgspec.structs.replace(one, probability=round(one.probability, decimals), classes=told)


class Scored(NamedTuple):
    """Of each row the answer, its vector, and what that was read from."""

    answers: list[Prediction]
    vectors: NDArray[np.float64]
    provenance: list[Any]


class Scoring:
    """Scores a project's rows with the features that its online store has."""

    def __init__(self, project: Project, decoder: Decoder, settings: Settings) -> None:
        self._project, self._decoder, self._slot = project, decoder, settings.slot
        self._lookup = Lookup(project, settings)

    def score(self, release: Release, rows: list[Any], ids: list[str], *, add: bool) -> Scored:
        """The rows scored by a release; with `add` they count as events.

        Raises Refused with 500 when a score is not a number.
        """
        payload, (looked_up, lacking), features = self._features(rows, add=add)
        vectors = release.request(payload, features)
        scores = _finite(release, release.score(payload, vectors))
        classes = self._classes(scores)
        decisions = release.decide(payload, scores)
        unknown: list[tuple[str, ...]] = [()] * len(rows)
        for view, known in looked_up.found.items():
            if not known.all():
                for index in np.flatnonzero(~known).tolist():
                    unknown[index] += (view,)
        causes = [tuple(filter(None, (release.degraded_by, one))) for one in lacking]
        answers = [
            Prediction(score, decision, release.name, request_id, self._slot, bool(cause), cause, names, *several)
            for score, decision, request_id, cause, names, several in zip(
                score_of(scores).tolist(), decisions, ids, causes, unknown, classes, strict=True
            )
        ]
        return Scored(answers, vectors, looked_up.provenance)

    def candidates(self, release: Release, rows: list[Any]) -> NDArray[np.float64]:
        """The scores of rows that count as no events, not even for each other, and are nobody's answers."""
        payload, _, features = self._features(rows, add=False, apart=True)
        return _finite(release, release.score(payload, release.request(payload, features)))

    def history(self, row: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The items that were taken before a row, the latest first, and those that were made ready at night for it."""
        payload, _, features = self._features([row], add=False)
        model = next(model for model in self._project.models if model.item)
        taken = transform(self._project, model)(payload, features)[0, len(model.item) :].astype(np.int64)
        ready = getattr(hook(self._project, "features"), "candidates", None)
        nightly = np.zeros(0, dtype=np.int64) if ready is None else np.asarray(ready(features)[0], dtype=np.int64)
        return taken[taken != NOTHING], nightly[nightly != NOTHING]

    def _features(self, rows: list[Any], *, add: bool, apart: bool = False) -> tuple[Any, Found, Any]:
        """The rows as arrays, what was looked up of them, and that as `features.request` takes it."""
        payload = self._decoder.arrays(rows)
        found = self._lookup.look_up(payload, add=add, apart=apart)
        return payload, found, online(self._project, found.features.values, found.features.found)

    def _classes(self, scores: NDArray[np.float64]) -> list[tuple[Any, ...]]:
        """Of each row the class it is said to be of and the probability of each; nothing where scores know none."""
        if scores.ndim == 1:
            return [()] * len(scores)
        names = self._project.models[-1].classes
        return [(names[int(row[-1])], dict(zip(names, row[:-1], strict=True))) for row in scores.tolist()]

    def stop(self) -> None:
        """Stores the events that could not be stored before."""
        self._lookup.stop()
