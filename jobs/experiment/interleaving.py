"""Two orders in one list: which side's documents people choose, search by search; pure.

Team-draft interleaving (Radlinski, Kurup and Joachims 2008, "How does clickthrough data reflect retrieval quality?"):
both sides see the same searches, so that it takes far fewer of them than halves of the traffic do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from jobs.release.checks import Check, State
from jobs.rollout.statistics import proportion
from jobs.rollout.verdict import AB_TEST, Verdict, conclude

Side = Literal["candidate", "stable"]
MINIMUM = 100
"""Searches with a preference before anything is decided."""


@dataclass(frozen=True, kw_only=True)
class Drafted:
    """One place of an interleaved list: what is shown there, and whose choice it was."""

    document: str
    side: Side


def draft(candidate: Sequence[str], stable: Sequence[str], search: str) -> list[Drafted]:
    """The interleaved list of two orders: whoever has chosen less chooses next, by lot where both have chosen as much.

    The same search gives the same lots, whoever draws them. What only one of the orders has is in the list as well.
    """
    lots = np.random.default_rng(int.from_bytes(hashlib.blake2b(search.encode(), digest_size=8).digest()))
    left: dict[Side, list[str]] = {"candidate": list(candidate)[::-1], "stable": list(stable)[::-1]}
    chosen: dict[Side, int] = {"candidate": 0, "stable": 0}
    found: list[Drafted] = []
    taken: set[str] = set()
    while any(left.values()):
        ahead = chosen["candidate"] - chosen["stable"]
        first: Side = "candidate" if ahead < 0 or (ahead == 0 and lots.random() < 0.5) else "stable"
        for side in (first, "stable" if first == "candidate" else "candidate"):
            while left[side] and left[side][-1] in taken:
                left[side].pop()
            if left[side]:
                document = left[side].pop()
                taken.add(document)
                chosen[side] += 1
                found.append(Drafted(document=document, side=side))
                break
    return found


def preference(drafted: Iterable[Drafted], clicked: Collection[str]) -> int:
    """1 where more of the candidate's choices were clicked, -1 where more of the stable side's, 0 where as many."""
    votes = [1 if one.side == "candidate" else -1 for one in drafted if one.document in clicked]
    return int(np.sign(sum(votes)))


def judge(preferences: Iterable[int], *, alpha: float, waited: float, deadline: float) -> Verdict:
    """The verdict on the searches so far, which may be looked at as often as one likes.

    PROMOTE once the candidate is surely preferred in more than half of the searches with a preference, ROLL BACK once
    it surely is not, or when that is still open at the deadline (both in seconds).
    """
    votes = [one for one in preferences if one]
    wins, count = sum(one > 0 for one in votes), len(votes)
    found = proportion(wins, count, alpha)
    state = State.PASSED if found.low > 0.5 else State.FAILED if found.high <= 0.5 else State.UNDECIDED
    share = wins / count if count else None
    if count < MINIMUM:
        state, detail = State.UNDECIDED, f"{count} searches with a preference, of {MINIMUM} needed"
    else:
        detail = f"the candidate is preferred in {wins:,} of {count:,} searches with a preference"
        detail += f" ({100 * (1 - alpha):g} % interval {found.low:.3f} to {found.high:.3f})"
    check = Check(
        name="preference", value=share, bound=0.5, low=found.low, high=found.high, state=state, rule="low > bound",
        detail=detail, samples={"searches": count},
    )  # fmt: skip
    return conclude([check], AB_TEST, waited=waited, deadline=deadline, where="interleaving", because=detail)
