"""Ads shown on the pages of a made-up network: users with interests, ads that come and go, clicks that come later.

A click is likelier for some users, ads and sites, where ad and site are about the same topic and in the evening, and
less likely each time the same user has seen the same ad. Most clicks come within minutes, some hours later, a few too
late to count. After the shift an app for televisions brings users nobody knows, who rarely click, and half of all ads
are replaced by others.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.simulated import identifier, times

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

USERS, SLOTS, SITES, TOPICS = 12_000, 240, 60, 8
IMPRESSIONS_A_DAY = 8_000
AD_DAYS = 60
DEVICES, SYSTEMS = ("phone", "tablet", "desktop", "television"), ("android", "ios", "linux", "macos", "windows")
APP = 3
BASE = -3.6
LATE_CLICKS, MEAN_MINUTES = 0.15, 2
"""The share of clicks that come within hours rather than minutes."""
APP_SHARE, APP_USERS = 0.3, 30_000
_DAY = 86_400


def day(date: date, seed: int, drift_from: date | None = None) -> Mapping[str, pa.Table]:
    """What is known by the end of one day: its impressions, and the clicks made on it, on older ones as well.

    The same arguments give the same rows. From `drift_from` on, impressions follow the shifted pattern.
    """
    shown, clicks = _shown(date, seed, drift_from), []
    for age in (0, 1, 2):
        earlier = _shown(date - timedelta(days=age), seed, drift_from)
        second = earlier["second"] + earlier["clicked_after"] - age * _DAY
        found = np.flatnonzero((earlier["clicked_after"] >= 0) & (second >= 0) & (second < _DAY))
        clicks += [(int(second[row]), identifier(date - timedelta(days=age), row)) for row in found.tolist()]
    clicks.sort()
    impressions = {
        "impression_id": [identifier(date, row) for row in range(len(shown["second"]))],
        "event_time": times(date, shown["second"]),
        "user_id": [f"U{user:06d}" for user in shown["user"].tolist()],
        "ad_id": [f"A{ad:05d}" for ad in shown["ad"].tolist()],
        "site_id": [f"S{site:03d}" for site in shown["site"].tolist()],
        "device_id": [DEVICES[device] for device in shown["device"].tolist()],
        "os_id": [SYSTEMS[system] for system in shown["system"].tolist()],
    }
    clicked = {
        "click_id": pa.array([f"C{impression}" for _, impression in clicks], pa.string()),
        "clicked_at": times(date, np.array([second for second, _ in clicks], dtype=np.int64)),
        "impression_id": pa.array([impression for _, impression in clicks], pa.string()),
    }
    return {"impressions": pa.table(impressions), "clicks": pa.table(clicked)}


@lru_cache(maxsize=8)
def _worth(seed: int, kind: int, count: int, spread: float) -> Floats:
    """What each user, ad, site or device adds to the log-odds of a click."""
    return np.random.default_rng([seed, kind]).normal(0, spread, count)


@lru_cache(maxsize=32)
def _shown(date: date, seed: int, drift_from: date | None) -> Mapping[str, Ints]:
    """One day's impressions in the order they happen; how many seconds later each was clicked, -1 for never."""
    shifted = drift_from is not None and date >= drift_from
    rng = np.random.default_rng([seed, 9, date.toordinal()])
    count = int(rng.poisson(IMPRESSIONS_A_DAY))
    second = np.sort(((rng.normal(19, 5, count) % 24) * 3_600).astype(np.int64))
    user = (USERS * rng.beta(0.7, 2.0, count)).astype(np.int64)
    site = (SITES * rng.beta(0.8, 1.6, count)).astype(np.int64)
    device, system = user % 7 % APP, user % 11 % len(SYSTEMS)
    # Ads are replaced one by one: slot k shows another ad every AD_DAYS days, each slot on a day of its own.
    slot = (SLOTS * rng.beta(0.8, 1.4, count)).astype(np.int64)
    ad = slot + SLOTS * ((date.toordinal() + slot) // AD_DAYS % 400)
    bored = np.zeros(count)
    if shifted:
        app = rng.uniform(size=count) < APP_SHARE
        device = np.where(app, APP, device)
        user = np.where(app, USERS + rng.integers(0, APP_USERS, count), user)
        site = np.where(app, SITES, site)
        ad = np.where(slot % 2 == 0, ad + SLOTS * 400, ad)
        bored = np.where(app, -1.2, 0.0)
    odds = BASE + bored + _worth(seed, 1, USERS + APP_USERS, 0.7)[user] + _worth(seed, 2, SLOTS * 800, 0.8)[ad]
    odds += _worth(seed, 3, SITES + 1, 0.6)[site] + np.where(ad % TOPICS == site % TOPICS, 1.3, 0.0)
    odds += 0.4 * np.cos((second / 3_600 - 21) * np.pi / 12) - 0.5 * _seen_before(user, ad)
    clicked = rng.uniform(size=count) < 1 / (1 + np.exp(-odds))
    late = rng.uniform(size=count) < LATE_CLICKS
    after = np.where(late, 3_600 * rng.gamma(2.0, 3.5, count), 60 * rng.exponential(MEAN_MINUTES, count))
    after = np.where(clicked, np.minimum(after, 2 * _DAY - 1), -1).astype(np.int64)
    return {
        "second": second, "user": user, "ad": ad, "site": site, "device": device, "system": system, "clicked_after": after,
    }  # fmt: skip


def _seen_before(user: Ints, ad: Ints) -> Floats:
    """How often the user was shown the ad earlier that day, three times at most."""
    pair = user * 10_000_000 + ad
    order = np.argsort(pair, kind="stable")
    starts = np.flatnonzero(np.diff(pair[order], prepend=-1))
    times = np.empty(len(pair))
    times[order] = np.arange(len(pair)) - np.repeat(starts, np.diff(np.append(starts, len(pair))))
    return np.minimum(times, 3)
