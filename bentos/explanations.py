"""Why a row was scored as it was: its inputs' exact contributions, and the greatest of them in words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from bentos.decoding import Refused
from bentos.releases import Release
from bentos.scoring import Prediction, rounded_answer
from jobs.release.bits import told
from jobs.release.probability import explained, score_of
from jobs.release.reasons import reasons
from jobs.spec import Model

MAXIMUM_ROWS = 100
TOLERANCE = 1e-6
"""How far the probability that the contributions come to may be from the one that was answered."""
_WAITING = 16
_T = TypeVar("_T")


class Explanation(Prediction, frozen=True, gc=False, kw_only=True):
    """The prediction for one row and how it came about; `base`, `contributions` and `margin` are log-odds."""

    as_served: bool
    """Whether the vector is the one that this slot scored when the event was predicted, and not made anew."""
    base: float
    contributions: dict[str, float]
    margin: float
    """The base and all contributions."""
    inputs: dict[str, float]
    reasons: list[dict[str, Any]]


class Beside:
    """A thread for work that predictions need not wait for; who comes when too much waits is told to come back."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="explanations")
        self._waiting = 0

    async def work(self, work: Callable[[], _T]) -> _T:
        """What the work returns, once it is its turn; raises Refused with 429."""
        if self._waiting >= _WAITING:
            waiting = f"{self._waiting} requests for explanations are waiting already; ask again later"
            raise Refused(429, waiting, retry_after=1)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._waiting -= 1


def explanations(
    model: Model, release: Release, answers: Sequence[Any], vectors: NDArray[np.float64], as_served: Sequence[bool]
) -> list[Explanation]:
    """The explanation of each answer, given the vectors that were scored.

    Raises Refused with 500 when the contributions do not come to the probability that was answered.
    """
    if release.scorer is None:
        raise Refused(503, "there is no model to explain: answers are the rule's", retry_after=5)
    contributions, exact = release.scorer.explain(vectors), release.scorer.margins(vectors)
    margins = contributions.sum(axis=1)
    scores = score_of(release.scorer.scores_of(exact))
    furthest = np.abs([scores - [answer.probability for answer in answers], margins - explained(exact)]).max()
    if not furthest <= TOLERANCE:
        raise Refused(500, f"release {release.name}: contributions come to a score {furthest:.3g} from the model's")
    return [
        Explanation(
            **msgspec.structs.asdict(answer),
            as_served=served,
            base=float(row[-1]),
            contributions=dict(zip(model.told, row[:-1].tolist(), strict=True)),
            margin=float(margin),
            inputs=dict(zip(model.told, vector.tolist(), strict=True)),
            reasons=reasons(model, vector, row),
        )
        for answer, served, vector, row, margin in zip(
            answers, as_served, told(vectors, release.scorer.flags), contributions, margins, strict=True
        )
    ]


def rounded(one: Explanation, decimals: int) -> Explanation:
    """The same with score and contributions rounded: exact ones would say the score more exactly than it is told."""
    return msgspec.structs.replace(
        rounded_answer(one, decimals),
        base=round(one.base, decimals),
        contributions={name: round(value, decimals) for name, value in one.contributions.items()},
        margin=round(one.margin, decimals),
        reasons=[{**reason, "contribution": round(reason["contribution"], decimals)} for reason in one.reasons],
    )


def as_ranked(one: Explanation) -> dict[str, Any]:
    """The same as a ranking answers: a score for the order alone, where others have a probability and a decision."""
    told: dict[str, Any] = msgspec.to_builtins(one)
    score = told.pop("probability")
    del told["decision"]
    return {"score": score, **told}
