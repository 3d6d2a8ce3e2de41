"""What one more day costs when the history is short and when it is long: O(window), not O(history)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from tests.bench.measure import ROOT, Figures

FIRST = date(2026, 1, 1)
HISTORIES = (40, 183)


def one_more_day(folder: Path) -> dict[str, dict[str, Figures]]:
    """The data stages of day 40 and of day 183 of the simulated payments, each alone in a process of its own."""
    found: dict[str, Figures] = {}
    done = 0
    for history in HISTORIES:
        day = FIRST + timedelta(days=history - 1)
        before = f"{FIRST + timedelta(days=done)}..{day - timedelta(days=1)}"
        deliver = ("--out", str(folder / "delivery"), "--seed", "1", "--land")
        _tidemill(folder, "simulate", f"{FIRST + timedelta(days=done)}..{day}", *deliver)
        _tidemill(folder, "backfill", before)
        print(f"  day {history}", file=sys.stderr, flush=True)
        began = time.perf_counter()
        facts = _tidemill(folder, "backfill", str(day))
        found[f"day {history}"] = {
            "wall_seconds": round(time.perf_counter() - began, 2),
            **{f"{stage}_seconds": seconds for stage, seconds in facts["seconds"].items()},
        }
        done = history
    return {"one_more_day": found}


def _tidemill(folder: Path, stage: str, batch: str, *more: str) -> dict[str, Any]:
    command = [str(ROOT / ".venv/test/bin/tidemill"), stage, "--project", "fraud", "--batch", batch, "--json", *more]
    environment = {**os.environ, "TIDEMILL_HOME": str(folder / "home")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts
