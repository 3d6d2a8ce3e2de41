"""What a second release costs a slot: `python -m tests.serving.beside` prints what docs/experiments.md says.

Lists of search are answered by the runtime in the environment that serves, with one LightGBM release and with two; without
HTTP, which is the same.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from jobs.projects.search.spec import SEARCH
from jobs.settings import ROOT, Settings

LISTS = 400


def main() -> None:
    """Makes both releases, and asks a process of the other environment with and without the second one."""
    from jobs.features.materialize import materialize
    from jobs.rollout.slots import Slots
    from jobs.services import places
    from tests.serving.conftest import settings_of
    from tests.serving.release import train

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        settings = settings_of(home)
        materialize(SEARCH, settings)
        own, other = (train(SEARCH, home / str(seed), home / "releases", seed=seed) for seed in (7, 8))
        slots = Slots(settings)
        told = slots.assign(SEARCH.name, "green", other.release, other.digest, 1, other.folder)
        environment = {
            "PATH": os.environ["PATH"], "HOME": folder, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
            "TIDEMILL_HOME": folder, "TIDEMILL_LAKE_URI": settings.lake_uri, "TIDEMILL_SLOT": "blue",
            "TIDEMILL_ONLINE_STORE_URL": settings.online_store_url, "TIDEMILL_API_KEY": "key",
        }  # fmt: skip
        python = places.environment_python("serve")
        slots.assign(SEARCH.name, "blue", own.release, own.digest, 1, own.folder, beside=told)
        for rows in ("10", "40"):
            subprocess.run([python, "-m", "tests.serving.beside", rows], env=environment, cwd=ROOT, check=True)


async def asked(rows: int) -> None:
    """Prints the median processor time of one list of so many rows by the slot's own release, and of one by both.

    They take turns, so that whatever else the machine does is in both figures.
    """
    from bentos.asking import Asking
    from bentos.runtime import Runtime

    runtime = Runtime(SEARCH, Settings.load())
    runtime.start()
    both, took = runtime._interleaved.release, ([], [])
    assert both is not None
    for number in range(2 * LISTS):
        runtime._interleaved.release = both if number % 2 else None
        found = [
            {"impression_id": f"{number}.{row}", "event_time": "2026-02-01T10:00:00Z", "search_id": f"s{number}",
             "user_id": "u", "query": f"q{number}", "document_id": f"D{row}", "title": "a b", "body_score": 100 * row,
             "title_score": number * row * 7919 % 90_000, "age_days": row}
            for row in range(rows)
        ]  # fmt: skip
        asking = Asking(json.dumps({"rows": found}).encode(), f"r{number}", "key", time.perf_counter() + 10)
        began = time.thread_time()
        await runtime.answer(asking)
        took[number % 2].append(time.thread_time() - began)
    alone, two = (1_000 * median(some[50:]) for some in took)
    print(f"{rows} rows: {alone:.2f} ms by one release, {two:.2f} ms by both", flush=True)
    runtime.stop()


if __name__ == "__main__":
    asyncio.run(asked(int(sys.argv[1]))) if sys.argv[1:] else main()
