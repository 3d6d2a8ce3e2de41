"""One measured piece of work in a process of its own. Standard library only: peers run it in their environment."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
Figures = dict[str, Any]


def measured(work: Callable[[], Mapping[str, Any] | None]) -> Figures:
    """What the work returned, with its CPU seconds (all threads), wall seconds and the process's peak memory in MB."""
    cpu, wall = time.process_time(), time.perf_counter()
    found = work() or {}
    return {
        "cpu_seconds": round(time.process_time() - cpu, 3),
        "wall_seconds": round(time.perf_counter() - wall, 3),
        "peak_mb": _peak_mb(),
        **found,
    }


def _peak_mb() -> int:
    """Not `ru_maxrss`, which a process has from the one that started it."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text(encoding="ascii"))
    return round(int(found[1]) / 1024) if found else 0


def repeated(call: Callable[[], object], times: int) -> Figures:
    """The calls, the microseconds of CPU and the median microseconds of waiting of one call, after a tenth as many to warm up."""
    for _ in range(max(times // 10, 1)):
        call()
    waits, cpu = [], time.process_time()
    for _ in range(times):
        began = time.perf_counter()
        call()
        waits.append(time.perf_counter() - began)
    return {
        "calls": times,
        "cpu_microseconds": round((time.process_time() - cpu) / times * 1e6, 1),
        "median_microseconds": round(median(waits) * 1e6, 1),
    }


Case = Callable[[Path], Callable[[], Mapping[str, Any] | None]]


def report(cases: Mapping[str, Case]) -> None:
    """Prepares the case named on the command line in the folder named after it; measures it and prints the figures.

    Imports and what else a long-lived process does once belong to the preparation.
    """
    work = cases[sys.argv[1]](Path(sys.argv[2]))
    print(json.dumps(measured(work)))


def in_a_process(environment: str, peer: str, case: str, folder: Path) -> Figures:
    """The figures of a peer's case, run by `python -m tests.bench.<peer>` in an environment below .venv."""
    python = ROOT / ".venv" / environment / "bin" / "python"
    command = [str(python), "-m", f"tests.bench.{peer}", case, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def interleaved(contestants: Mapping[str, Callable[[], Figures]], rounds: int) -> dict[str, Figures]:
    """The median figures of each contestant, the rounds of all taken in turn: what disturbs one disturbs all."""
    runs: dict[str, list[Figures]] = {name: [] for name in contestants}
    for turn in range(rounds):
        for name, run in contestants.items():
            print(f"  round {turn + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
            runs[name].append(run())
    return {name: _middle(found) for name, found in runs.items()}


def _middle(runs: list[Figures]) -> Figures:
    numbers = {key for run in runs for key, value in run.items() if isinstance(value, int | float)}
    middle = {key: value for run in runs for key, value in run.items() if key not in numbers}
    return {key: round(median(run[key] for run in runs), 3) for key in runs[0] if key in numbers} | middle
