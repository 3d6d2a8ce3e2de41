"""A real release of candidates and their ranking, with as many items as are asked for, and a store for its viewers."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from jobs.features.online import OnlineStore
from jobs.projects.recsys.spec import RECSYS
from jobs.release.bundle import Bundle, write_bundle
from jobs.release.scorer import Scorer
from jobs.retrieval import index
from jobs.retrieval.factors import Factors
from jobs.rollout.slots import Assignment, assignment_path
from jobs.settings import Settings

VIEWERS, TOPICS = 200, 12
NOW = datetime(2026, 2, 1, 20, tzinfo=UTC)


def catalogue(items: int, width: int) -> Factors:
    """Items of topics, near each other within a topic; a fifth of them nobody took yet."""
    random = np.random.default_rng(5)
    number = np.arange(1, items + 1)
    topic = number % TOPICS
    taken = np.where(random.random(items) < 0.2, 0, random.zipf(1.5, items).clip(max=1_000)).astype(np.int64)
    vectors = random.normal(size=(TOPICS, width))[topic] + 0.5 * random.normal(size=(items, width))
    vectors *= np.log1p(taken + 1)[:, None]
    columns = np.column_stack([number, topic, np.full(items, 20_400)])
    return Factors(
        items=number, columns=columns, vectors=vectors.astype(np.float32), taken=taken, alpha=5.0, regularisation=0.1
    )


def release(folder: Path, items: int, width: int = 16) -> Bundle:
    """The bundle: the catalogue, its index, and a ranking by LightGBM."""
    import lightgbm

    random = np.random.default_rng(7)
    retrieval, ranking = RECSYS.models
    found = catalogue(items, width)
    folder.mkdir(parents=True)
    found.write(folder / "retrieval.npz")
    index.write(found, folder / "retrieval.voy")
    vectors = random.random((2_000, len(ranking.inputs))) * 50
    rows = lightgbm.Dataset(vectors, (vectors[:, 0] + vectors[:, 1] > 60).astype(int), group=[20] * 100)
    learned = {"objective": "lambdarank", "num_leaves": 15, "num_threads": 1, "verbosity": -1, "seed": 1}
    lightgbm.train(learned, rows, 100).save_model(folder / "ranking.txt")
    entries = [
        {"name": "retrieval", "library": "als", "task": "retrieval", "item": list(retrieval.item),
         "file": "retrieval.npz", "scorer_file": "retrieval.voy", "inputs": list(retrieval.inputs)},
        {"name": "ranking", "library": "lightgbm", "task": "ranking", "file": "ranking.txt", "scorer_file": None,
         "inputs": list(ranking.inputs)},
    ]  # fmt: skip
    scores = Scorer.load(folder, {"models": entries}).score(vectors[:50])
    parity = {"models": {"ranking": {"vectors": vectors[:50].tolist(), "scores": scores.tolist()}}}
    (folder / "parity.json").write_text(json.dumps(parity))
    files = ("retrieval.npz", "retrieval.voy", "ranking.txt", "parity.json")
    return write_bundle(
        folder.parent / "releases", RECSYS, {name: folder / name for name in files}, run="test", as_of="2026-01-31",
        models=entries, snapshot="0" * 64, git="0" * 40, metrics={}, decisions={},
    )  # fmt: skip


def home(folder: Path, items: int, width: int = 16) -> Settings:
    """A home whose blue slot is told to serve such a release; viewer u watched the items 12 u + 1 to 12 u + 5."""
    settings = Settings(
        _env_file=None, home=folder, lake_uri=str(folder / "lake"), online_store_url=f"sqlite:///{folder / 'online'}",
        api_key="key-of-these-tests",
    )  # fmt: skip
    made = release(folder / "made", items, width)
    told = Assignment(
        project=RECSYS.name, slot="blue", release=made.release, digest=made.digest, epoch=1, folder=str(made.folder)
    )
    path = assignment_path(settings, RECSYS.name, "blue")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(asdict(told)))
    at, store = int(NOW.timestamp() - 3_600 * 20) * 1_000_000, OnlineStore.open(settings.online_store_url, RECSYS)
    for view in RECSYS.views:
        width = len(view.features)
        rows = {
            "user_history": [((f"U{user}",), at, [5, *history(user), *[0] * 5]) for user in range(VIEWERS)],
            "candidates": [((f"U{user}",), at, [*nightly(user), *[0] * (width - 2)]) for user in range(VIEWERS)],
            "item_profile": [((item,), at, [item % 90 + 10, item % 9]) for item in range(1, min(items, 5_000) + 1)],
            "item_pairs": [((item, item + TOPICS), at, [3, 40_000]) for item in range(1, 500)],
        }[view.name]
        store.write(view, [(key, when, np.array(row)) for key, when, row in rows])
    for live in RECSYS.live_views:
        store.merge(live, [])
    store.close()
    return settings


def history(user: int) -> list[int]:
    """What a viewer watched, the latest first."""
    return [TOPICS * user % 240 + place for place in range(1, 6)]


def nightly(user: int) -> list[int]:
    """What was made ready for a viewer: something new, and something they have watched since."""
    return [250 + user % 20, history(user)[0]]
