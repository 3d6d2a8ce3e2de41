"""How long a list takes among 100,000 items: `python -m tests.bench --only lists`.

A slot's runtime is asked in its own environment and process, one request after the other, without HTTP: candidates from
the index and the online store (SQLite), a hundred and more of them scored by LightGBM, re-ranked, ten scored and logged.
Viewers are of a made-up store; every request is another one's first of its minute.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.bench.measure import Figures
from tests.retrieval.release import VIEWERS, home
from tests.retrieval.test_offers import ask, visit

ITEMS, WIDTH, REQUESTS, WARM = 100_000, 64, 1_000, 100


def lists(folder: Path) -> dict[str, dict[str, Figures]]:
    """The middle, the 95th and the 99th percentile of the milliseconds that a list of ten takes."""
    settings = home(folder / "home", ITEMS, WIDTH)
    visits = [
        visit(number % VIEWERS, impression_id=f"V{number}", request_id=f"V{number}")
        for number in range(REQUESTS + WARM)
    ]
    found = ask(settings, visits)
    if any(len(one["answer"]["rows"]) != 10 for one in found):
        raise SystemExit("a list was short, so its time says nothing")
    times = np.percentile([one["milliseconds"] for one in found[WARM:]], [50, 95, 99]).tolist()
    names = ("p50_milliseconds", "p95_milliseconds", "p99_milliseconds")
    return {"lists": {"tidemill": {"calls": REQUESTS, **dict(zip(names, times, strict=True))}}}
