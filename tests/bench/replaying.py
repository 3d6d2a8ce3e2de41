"""Replay of a million served vectors: read from the log, recomputed offline, compared bit for bit."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.measure import Figures, in_a_process, report


def replay(folder: Path) -> dict[str, dict[str, Figures]]:
    """A month of serving of which everything went right."""
    from jobs.lake import Lake
    from tests.bench.served import make

    print("  making a month of serving", file=sys.stderr, flush=True)
    make(Lake(folder / "lake"))
    return {"replay": {"tidemill": in_a_process("test", "replaying", "replay", folder)}}


def _replayed(folder: Path) -> Callable[[], dict[str, Any]]:
    import duckdb

    from jobs.features.replay import compare, outcome
    from jobs.features.replay.log import Log
    from jobs.lake import Lake
    from jobs.projects.fraud.spec import FRAUD
    from jobs.storage import current

    lake = Lake(folder / "lake")
    days = sorted((folder / "lake/raw/fraud/predictions").glob("batch=*"))
    paths = [path for day in days if (found := current(day)) for path in found.paths()]

    def work() -> dict[str, Any]:
        with duckdb.connect() as connection:
            found = compare.replay(Log(connection, FRAUD, paths), lake, "true", folder)
            if found is None:
                raise SystemExit("the log is empty")
            result = outcome.outcome(found, FRAUD.replay.minimum_identical)
        return {"vectors": result["vectors"], "identical": result["identical"]}

    return work


if __name__ == "__main__":
    report({"replay": _replayed})
