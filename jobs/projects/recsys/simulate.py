"""Films offered to made-up viewers: tastes, fashions, new films every day, and a list that its order makes famous.

What a viewer watches depends on how near the film is to their taste, how good it is, how new (the evening is for what
has just come out, the rest of the day for what is known), and whether it is of the topic of the film they watched last;
the lower on the list, the less it is looked at. Most offers are drawn at random, or nothing could be learned of what is
seldom offered; the rest are of popular or near films. After the shift a season begins: every viewer is drawn to one
topic, and a third of the catalogue is replaced by films nobody knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.simulated import identifier, times

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

USERS, SLOTS, TOPICS, TASTES, LENGTH = 200, 400, 12, 8, 10
VISITS = 0.5
"""How often a viewer comes, a day."""
LIFE = 120
"""Days that a film stays in the catalogue; each day some leave and others come."""
EVENING, FRESH, NEW = 20, 30, 6.0
"""The hour from which what is new is wanted and before which it is not, for how many days, and how much at first."""
SEASON_TOPIC, SEASON = 3, 1.5
"""The topic that all are drawn to after the shift, and how much."""
_DAY, _EPOCH = 86_400, date(1970, 1, 1).toordinal()


def day(date: date, seed: int, drift_from: date | None = None) -> Mapping[str, pa.Table]:
    """What is known by the end of one day: what it offered, and what was watched on it, offered the day before as well.

    The same arguments give the same rows. From `drift_from` on, viewers follow the shifted pattern.
    """
    shown, watched = _offered(date, seed, drift_from), []
    for age in (0, 1):
        earlier = _offered(date - timedelta(days=age), seed, drift_from)
        second = earlier["second"] + earlier["after"] - age * _DAY
        for row in np.flatnonzero((earlier["percent"] > 0) & (second >= 0) & (second < _DAY)).tolist():
            watched.append(
                (int(second[row]), identifier(date - timedelta(days=age), row), int(earlier["percent"][row]))
            )
    watched.sort()
    impressions = {
        "impression_id": [identifier(date, row) for row in range(len(shown["second"]))],
        "event_time": times(date, shown["second"]),
        "request_id": [identifier(date, visit) for visit in shown["visit"].tolist()],
        "user_id": [f"U{user:05d}" for user in shown["user"].tolist()],
        **{
            name: pa.array(shown[name], pa.int64())
            for name in ("item_id", "topic", "published_day", "last_item_id", "place")
        },
    }
    watches = {
        "watch_id": pa.array([f"W{impression}" for _, impression, _ in watched], pa.string()),
        "watched_at": times(date, np.array([second for second, _, _ in watched], dtype=np.int64)),
        "impression_id": pa.array([impression for _, impression, _ in watched], pa.string()),
        "percent": pa.array([percent for _, _, percent in watched], pa.int64()),
    }
    return {"impressions": pa.table(impressions), "watches": pa.table(watches)}


@lru_cache(maxsize=8)
def _tastes(seed: int, kind: int, count: int) -> Floats:
    """The taste of each viewer, or what each topic is for."""
    return np.random.default_rng([seed, kind]).normal(0, 1, (count, TASTES))


@lru_cache(maxsize=32)
def _catalogue(date: date, seed: int, drift_from: date | None) -> Mapping[str, npt.NDArray[Any]]:
    """The films of one day: number, topic, age in days, how good each is, and what taste it is for.

    Slot k shows another film every LIFE days, each slot on a day of its own; the shift replaces a third of each topic.
    """
    slot, days = np.arange(SLOTS), date.toordinal()
    generation = (days + slot * 7 % LIFE) // LIFE
    age = (days + slot * 7 % LIFE) % LIFE
    if drift_from is not None and date >= drift_from:
        new = slot // TOPICS % 3 == 0
        generation, age = generation + 7_000 * new, np.where(new, days - drift_from.toordinal(), age)
    item = 1 + slot + SLOTS * (generation % 2_000)
    drawn = [np.random.default_rng([seed, 3, one]).normal(0, 1, TASTES + 1) for one in item.tolist()]
    topic, own = slot % TOPICS, np.array(drawn)
    taste = _tastes(seed, 2, TOPICS)[topic] + 0.7 * own[:, 1:]
    return {"item": item, "topic": topic, "age": age, "worth": own[:, 0], "taste": taste}


@lru_cache(maxsize=64)
def _offered(date: date, seed: int, drift_from: date | None) -> Mapping[str, Ints]:
    """One day's offers in the order they happen, LENGTH a visit; how much of each was watched and seconds later."""
    shifted = drift_from is not None and date >= drift_from
    rng, films = np.random.default_rng([seed, 4, date.toordinal()]), _catalogue(date, seed, drift_from)
    user = np.repeat(np.arange(USERS), rng.poisson(VISITS, USERS))
    visits = len(user)
    second = ((rng.normal(20, 4, visits) % 24) * 3_600).astype(np.int64)
    order = np.argsort(second, kind="stable")
    user, second = user[order], second[order]
    near = _tastes(seed, 1, USERS)[user] @ films["taste"].T / 1.4 + 0.4 * films["worth"] - films["age"] / LIFE
    near += SEASON * (films["topic"] == SEASON_TOPIC) if shifted else 0.0
    known = 0.8 * near + rng.gumbel(0, 1.2, near.shape)
    chance = rng.uniform(size=near.shape)
    slots = np.argsort(-np.where(rng.uniform(size=near.shape) < 0.2, 10 * chance, known), axis=1)[:, :LENGTH]
    last = np.where(rng.uniform(size=visits) < 0.6, np.argmax(near + rng.gumbel(0, 1, near.shape), axis=1), -1)
    place = np.broadcast_to(np.arange(LENGTH), slots.shape)
    again = (films["topic"][slots] == films["topic"][last][:, None]) & (last >= 0)[:, None]
    new = np.where(second >= EVENING * 3_600, NEW, -NEW)[:, None] * np.exp(-films["age"][slots] / FRESH)
    liked = np.take_along_axis(near, slots, axis=1) + 0.7 * again + new
    looked = rng.uniform(size=slots.shape) < 1 / (1 + place) ** 0.5
    watched = looked & (rng.uniform(size=slots.shape) < 1 / (1 + np.exp(-(1.2 * liked - 1.6))))
    percent = np.clip(rng.normal(45 + 12 * liked, 25), 1, 100)
    return {
        "second": np.repeat(second, LENGTH), "visit": np.repeat(np.arange(visits), LENGTH),
        "user": np.repeat(user, LENGTH), "item_id": films["item"][slots].ravel(), "topic": films["topic"][slots].ravel(),
        "published_day": (date.toordinal() - _EPOCH - films["age"][slots]).ravel(), "place": place.ravel() + 1,
        "last_item_id": np.repeat(np.where(last >= 0, films["item"][last], 0), LENGTH),
        "percent": np.where(watched, percent, 0).astype(np.int64).ravel(),
        "after": (60 * rng.exponential(40, slots.shape)).astype(np.int64).ravel() + 1,
    }  # fmt: skip
