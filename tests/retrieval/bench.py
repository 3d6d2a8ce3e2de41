"""How long a list takes among 100,000 items: `python -m tests.retrieval.bench`.

A slot's runtime is asked in its own environment and process, one request after the other, without HTTP: candidates from
the index and the online store (SQLite), a hundred and more of them scored by LightGBM, re-ranked, ten scored and logged.
Viewers are of a made-up store; every request is another one's first of its minute.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from tests.retrieval.release import VIEWERS, home
from tests.retrieval.test_offers import ask, visit

ITEMS, WIDTH, REQUESTS, WARM = 100_000, 64, 1_000, 100


def main() -> None:
    """Prints the middle, the 95th and the 99th percentile of the times in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        settings = home(Path(folder) / "home", ITEMS, WIDTH)
        visits = [
            visit(number % VIEWERS, impression_id=f"V{number}", request_id=f"V{number}")
            for number in range(REQUESTS + WARM)
        ]
        found = ask(settings, visits)
    assert all(len(one["answer"]["rows"]) == 10 for one in found)
    times = np.array([one["milliseconds"] for one in found[WARM:]])
    p50, p95, p99 = np.percentile(times, [50, 95, 99])
    print(
        f"{ITEMS:,} items of {WIDTH} numbers, {REQUESTS:,} lists: p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms"
    )


if __name__ == "__main__":
    main()
