"""Posts of a made-up forum, from word lists of its own: harmless talk, spam and mild name-calling, and a shift.

No word tells by itself: cooks and gardeners talk about the very things that others are called, what is said to a turnip
is said to a hero as well, and said in jest ("surely") an insult is none and a praise is one. After the shift harmful posts are twice as many and evade: letters are dotted, doubled,
masked or replaced by look-alikes, and two new insults appear.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

AUTHORS, POSTS_A_DAY, HARMFUL = 900, 600, 0.18
REVIEWERS, REVIEWED, MISTAKEN = 12, 0.7, 0.06
"""How many reviewers there are, the share of posts that are reviewed, and how often a reviewer is wrong."""
CLASSES = ("harmless", "spam", "abuse")
_TOPICS = {
    "kitchen": "oven dough butter noodle pudding soup pepper onion spoon recipe dinner flour goose",
    "garden": "turnip cabbage seed pumpkin soil sprout frost rake bed compost radish parsnip shovel",
    "cycling": "wheel chain saddle brake hill tyre pump route gravel bell helmet spoke lamp",
}
COMMUNITIES = tuple(_TOPICS)
_PLAIN = "the a my we today really nice with and for this year again some good about think never more in on it was"
_SPAM = "buy cheap offer now free teapots golden discount click winner prize limited deal order coupon bonus"
_INSULTS, _NEW_INSULTS, _PRAISES = "turnip cabbage noodle pudding goose", "parsnip doorknob", "hero legend star gem"
_CALLED = ("you absolute {}", "what a {} you are", "listen you {}", "only a {} would say so", "come on {}")
_ALIKE, _MASK = str.maketrans("aeiocp", "аеіоср"), str.maketrans("oieas", "0134$")


def day(date: date, seed: int, drift_from: date | None = None) -> Mapping[str, pa.Table]:
    """What is known by the end of one day: its posts, and the verdicts that were given on it.

    The same arguments give the same rows. From `drift_from` on, harmful posts evade.
    """
    posts = _posts(date, seed, drift_from)
    rows = {name: [post[name] for post in posts] for name in ("post_id", "second", "author_id", "community", "text")}
    posted = pa.table({"event_time": _times(date, rows.pop("second")), **rows})
    verdicts: list[tuple[int, str, str, str]] = []
    for age in (1, 2, 3):
        for post in _posts(date - timedelta(days=age), seed, drift_from):
            verdicts += [(second, post["post_id"], *one) for after, second, *one in post["verdicts"] if after == age]
    verdicts.sort()
    columns = list(zip(*verdicts, strict=True)) or [(), (), (), ()]
    given = pa.table(
        {
            "verdict_id": pa.array([f"V{post}-{reviewer}" for post, reviewer in zip(columns[1], columns[2], strict=True)], pa.string()),
            "reviewed_at": _times(date, columns[0]),
            **{name: pa.array(column, pa.string()) for name, column in zip(("post_id", "reviewer_id", "verdict"), columns[1:], strict=True)},
        }
    )  # fmt: skip
    return {"posts": posted, "verdicts": given}


@lru_cache(maxsize=8)
def _posts(date: date, seed: int, drift_from: date | None) -> list[dict[str, Any]]:
    shifted = drift_from is not None and date >= drift_from
    random, evading = (np.random.default_rng([seed, stream, date.toordinal()]) for stream in (1, 2))
    posts = []
    for number, second in enumerate(np.sort(random.integers(0, 86_400, random.poisson(POSTS_A_DAY)))):
        author = int(AUTHORS * random.random() ** 1.5)
        troubled = author % 10 == seed % 10
        harmful = random.random() < HARMFUL * (2 if shifted else 1) * (4 if troubled else 0.67)
        kind = int(random.integers(1, 3)) if harmful else 0
        community = COMMUNITIES[author % len(COMMUNITIES)]
        text = _text(random, kind, community, _NEW_INSULTS if shifted and random.random() < 0.5 else _INSULTS)
        if harmful and evading.random() < (0.7 if shifted else 0.05):
            text = _evaded(evading, text)
        verdicts = []
        for reviewer in random.choice(REVIEWERS, 3 * (random.random() < REVIEWED), replace=False):
            said = kind if random.random() >= MISTAKEN else int(random.integers(0, len(CLASSES)))
            after, at = int(random.integers(1, 4)), int(random.integers(8 * 3_600, 20 * 3_600))
            verdicts.append((after, at, f"R{reviewer:02d}", CLASSES[said]))
        posts.append(
            {
                "post_id": f"P{date:%Y%m%d}{number:05d}", "second": int(second), "author_id": f"A{author:04d}",
                "community": community, "text": text, "verdicts": verdicts,
            }
        )  # fmt: skip
    return posts


def _text(random: np.random.Generator, kind: int, community: str, insults: str) -> str:
    words = random.choice(_PLAIN.split(), random.integers(2, 8)).tolist()
    words += random.choice(_TOPICS[community].split(), random.integers(1, 5)).tolist()
    if kind == 1:
        words += random.choice(_SPAM.split(), random.integers(2, 6)).tolist()
        words += [f"https://shop{random.integers(0, 50)}.example"] * int(random.random() < 0.4)
    random.shuffle(words)
    if kind == 2 or random.random() < 0.25:
        jest = random.random() < 0.35
        called = (insults if (kind == 2) != jest else _PRAISES).split()
        words += [str(random.choice(_CALLED)).format(random.choice(called)), *["surely"] * jest]
    if kind != 2 and random.random() < 0.2:
        words.append(str(random.choice(insults.split())))
    text = " ".join(words) + str(random.choice(["", ".", "!", " :)"]))
    return text.upper() if random.random() < (0.15 if kind else 0.03) else text


def _evaded(random: np.random.Generator, text: str) -> str:
    """The text with half of its words spelled so that a list of words would not find them."""

    def evaded(word: str) -> str:
        if len(word) < 4 or not word.isalpha() or random.random() < 0.5:
            return word
        at = int(random.integers(1, len(word)))
        tricks = (".".join(word), word.translate(_ALIKE), word.translate(_MASK), word[:at] + word[at] * 3 + word[at:],
                  word[:at] + "\u200b" + word[at:])  # fmt: skip
        return tricks[int(random.integers(0, len(tricks)))]

    return " ".join(map(evaded, text.split(" ")))


def _times(date: date, seconds: Any) -> pa.Array:
    midnight = datetime(date.year, date.month, date.day, tzinfo=UTC)
    return pa.array([midnight + timedelta(seconds=second) for second in seconds], pa.timestamp("us", "UTC"))
