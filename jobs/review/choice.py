"""Which of a day's answers people look at: what was decided to be reviewed, what is least certain, and some by chance."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from jobs.spec import Review

Why = Literal["decision", "uncertain", "random"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answered event, as the choice sees it."""

    event_id: str
    decision: str
    probabilities: tuple[float, ...]
    """Of each class; of a yes or no those of no and yes."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """An answer that is to be looked at."""

    event_id: str
    why: Why
    uncertainty: float
    """1 minus the distance of the two likeliest classes: 1 where they are equally likely (margin sampling)."""
    chance: float | None
    """Of a random item, that of any event of the day to be drawn: what unbiased shares are weighed by; else None."""


def choose(answers: Sequence[Answer], policy: Review, *, seed: int, asks: str = "review") -> list[Item]:
    """A day's items, most pressing first, as many as the policy has time for; the same answers and seed give the same.

    First a random share of all events, blind to decision and score. Then what was decided as `asks`, the least certain
    first, and with the time that is left the least certain of the others. Each event is one item.
    """
    at_random = min(round(policy.items_a_day * policy.explored), len(answers))
    drawn = sorted(answers, key=lambda one: _draw(one.event_id, seed))[:at_random]
    chance = at_random / len(answers) if answers else None
    random = {one.event_id for one in drawn}
    others = sorted(
        (one for one in answers if one.event_id not in random),
        key=lambda one: (one.decision != asks, -uncertainty(one), one.event_id),
    )[: policy.items_a_day - at_random]
    pressing = [_item(one, "decision" if one.decision == asks else "uncertain", None) for one in others]
    return [*pressing, *(_item(one, "random", chance) for one in drawn)]


def uncertainty(answer: Answer) -> float:
    """1 minus the distance of the two likeliest classes' probabilities.

    >>> uncertainty(Answer(event_id="e", decision="review", probabilities=(0.5, 0.25, 0.25)))
    0.75
    """
    second, first = sorted(answer.probabilities)[-2:]
    return 1 - (first - second)


def open_items(items: Sequence[Item], given: Mapping[str, Sequence[str]], policy: Review, reviewer: str) -> list[Item]:
    """The items that still need a verdict and have none of this reviewer; `given` are the reviewers of each event."""
    return [
        item
        for item in items
        if len(set(given.get(item.event_id, ()))) < policy.reviewers and reviewer not in given.get(item.event_id, ())
    ]


def _item(answer: Answer, why: Why, chance: float | None) -> Item:
    return Item(event_id=answer.event_id, why=why, uncertainty=uncertainty(answer), chance=chance)


def _draw(event_id: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}/{event_id}".encode(), digest_size=8).digest()
