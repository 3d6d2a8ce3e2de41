"""Searches in a made-up library: words with topics, documents found by BM25, and clicks where people looked.

What is relevant depends on the topic, which the words only hint at, on how good the document is and how well it suits
the query; whoever asks in two words wants what is new, whoever asks in more what has lasted. A click needs that the place
was looked at (`EXAMINED`) and that the document is relevant. One search in ten is shown in a shuffled order, which tells
the two apart. After the shift all search for what the season brings, and a
tenth of the documents carry titles that promise every popular word.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.simulated import identifier, times

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

TOPICS, WORDS, DOCUMENTS, QUERIES, USERS, LENGTH = 12, 40, 1_200, 400, 2_000, 10
SEARCHES, SHUFFLED = 450, 0.1
"""About how many a day, and the share whose order is drawn."""
EXAMINED = 1 / np.arange(1, LENGTH + 1) ** 0.7
"""How likely each place is looked at."""
RENEWED, FRESH, NEWS = 90, 20, 4.0
"""Days after which a document is written anew and for which that counts, and how much it is wanted, or not, at first."""
_DAY = 86_400


class Library(NamedTuple):
    """The documents and queries there are, and for each query the documents that its words find, best first."""

    titles: list[str]
    queries: list[str]
    topic: Ints
    found: Ints
    scores: Ints
    """BM25 of title and body, in thousandths."""
    relevant: Floats
    """Log-odds that a person who looks at it clicks, whatever its age."""


def day(date: date, seed: int, drift_from: date | None = None) -> Mapping[str, pa.Table]:
    """What is known by the end of one day: what it showed, and what was clicked on it, shown the day before as well.

    The same arguments give the same rows. From `drift_from` on, searches and titles follow the shifted pattern.
    """
    shown, clicked = _shown(date, seed, drift_from), []
    for age in (0, 1):
        earlier = _shown(date - timedelta(days=age), seed, drift_from)
        second = earlier["second"] + earlier["after"] - age * _DAY
        for row in np.flatnonzero((earlier["seconds"] > 0) & (second >= 0) & (second < _DAY)).tolist():
            shown_as = identifier(date - timedelta(days=age), row)
            clicked.append((int(second[row]), shown_as, int(earlier["seconds"][row])))
    clicked.sort()
    library = _library(seed, drift_from is not None and date >= drift_from)
    query, document = shown["query"].tolist(), shown["document"].tolist()
    impressions = {
        "impression_id": [identifier(date, row) for row in range(len(query))],
        "event_time": times(date, shown["second"]),
        "search_id": [identifier(date, search) for search in shown["search"].tolist()],
        "user_id": [f"U{user:05d}" for user in shown["user"].tolist()],
        "query": [library.queries[one] for one in query],
        "document_id": [f"D{one:05d}" for one in document],
        "title": [library.titles[one] for one in document],
        **{name: pa.array(shown[name], pa.int64()) for name in ("title_score", "body_score", "age_days", "place")},
    }
    clicks = {
        "click_id": pa.array([f"C{impression}" for _, impression, _ in clicked], pa.string()),
        "clicked_at": times(date, np.array([second for second, _, _ in clicked], dtype=np.int64)),
        "impression_id": pa.array([impression for _, impression, _ in clicked], pa.string()),
        "seconds": pa.array([seconds for _, _, seconds in clicked], pa.int64()),
    }
    return {"impressions": pa.table(impressions), "clicks": pa.table(clicks)}


@lru_cache(maxsize=4)
def _library(seed: int, shifted: bool) -> Library:
    """Documents of a topic are written in its words and some of all; a query is of two to four words of its topic."""
    import bm25s

    rng = np.random.default_rng([seed, 1])
    topic, worth = rng.integers(0, TOPICS, DOCUMENTS), rng.normal(0, 1, DOCUMENTS)
    often = 1 / np.arange(1, WORDS + 1) ** 0.8
    often /= often.sum()

    def words(of: int, count: int) -> list[str]:
        topics = np.where(rng.uniform(size=count) < 0.65, of, rng.integers(0, TOPICS, count))
        drawn = zip(topics.tolist(), rng.choice(WORDS, count, p=often).tolist(), strict=True)
        return [f"{chr(97 + topic)}{word:02d}" for topic, word in drawn]

    titles = [words(int(one), int(rng.integers(3, 8))) for one in topic]
    bodies = [title + words(int(one), 50) for title, one in zip(titles, topic, strict=True)]
    asked = rng.integers(0, TOPICS, QUERIES)
    queries = [words(int(one), int(rng.integers(2, 5))) for one in asked]
    suits = rng.normal(0, 0.7, (QUERIES, DOCUMENTS))
    if shifted:
        popular = [word for query in queries[:6] for word in query]
        titles = [popular[:12] if one % 10 == 0 else title for one, title in enumerate(titles)]
    indexes = [bm25s.BM25(k1=1.2, b=0.75) for _ in range(2)]
    for index, texts in zip(indexes, (titles, bodies), strict=True):
        index.index(texts, show_progress=False)
    scores = np.array([[index.get_scores(query) for query in queries] for index in indexes], dtype=np.float64)
    found = np.argsort(-(2 * scores[0] + scores[1]), axis=1, kind="stable")[:, :LENGTH]
    near = 1.8 * (topic[found] == asked[:, None]) + 0.9 * worth[found] + np.take_along_axis(suits, found, axis=1)
    near -= 1.5 * shifted * (found % 10 == 0)
    chosen = 1_000 * np.stack([np.take_along_axis(one, found, axis=1) for one in scores], axis=2)
    told = [[" ".join(one) for one in texts] for texts in (titles, queries)]
    return Library(told[0], told[1], asked, found, np.rint(chosen).astype(np.int64), near - 1.6)


def wanted(library: Library, query: Ints, date: date) -> Floats:
    """Log-odds that a person who looks at it clicks, of each document that these queries find."""
    news = np.where([len(one.split()) == 2 for one in library.queries], NEWS, -NEWS)[query]
    newness = np.exp(-_age(library.found[query], date) / FRESH)
    return np.asarray(library.relevant[query] + news[:, None] * newness)


def _age(document: Ints, date: date) -> Ints:
    return (date.toordinal() + 37 * document) % RENEWED


@lru_cache(maxsize=64)
def _shown(date: date, seed: int, drift_from: date | None) -> Mapping[str, Ints]:
    """One day's documents in the order they were shown, LENGTH a search; seconds each was read, and until the click."""
    shifted = drift_from is not None and date >= drift_from
    rng, library = np.random.default_rng([seed, 2, date.toordinal()]), _library(seed, shifted)
    count = int(rng.poisson(SEARCHES))
    often = 1 / np.arange(1, QUERIES + 1) ** 0.6
    often = np.where(library.topic == 3, 6 * often, often) if shifted else often
    query = rng.choice(QUERIES, count, p=often / often.sum())
    second = np.sort(rng.integers(0, _DAY, count))
    by_index = (library.scores[query] @ np.array([2, 1])) / 1_000
    known = by_index + 1.5 * library.relevant[query] + rng.gumbel(0, 1.5, by_index.shape)
    shuffled = rng.uniform(size=(count, 1)) < SHUFFLED
    order = np.argsort(-np.where(shuffled, rng.uniform(size=by_index.shape), known), axis=1)
    relevant = np.take_along_axis(wanted(library, query, date), order, axis=1)
    clicked = rng.uniform(size=relevant.shape) < EXAMINED / (1 + np.exp(-relevant))
    read = np.clip(rng.lognormal(3.0 + 0.6 * relevant, 0.8), 1, 3_600)
    document = np.take_along_axis(library.found[query], order, axis=1)
    scores = np.take_along_axis(library.scores[query], order[:, :, None], axis=1)
    return {
        "second": np.repeat(second, LENGTH), "search": np.repeat(np.arange(count), LENGTH),
        "user": np.repeat(rng.integers(0, USERS, count), LENGTH), "query": np.repeat(query, LENGTH),
        "document": document.ravel(), "title_score": scores[:, :, 0].ravel(), "body_score": scores[:, :, 1].ravel(),
        "age_days": (_age(document, date) + 1).ravel(), "place": np.tile(np.arange(1, LENGTH + 1), count),
        "seconds": np.where(clicked, read, 0).astype(np.int64).ravel(),
        "after": rng.integers(1, 600, relevant.shape).ravel(),
    }  # fmt: skip
