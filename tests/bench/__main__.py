"""`make bench`: every benchmark beside its peers, one child process a run, taken in turn.

Writes `$TIDEMILL_HOME/bench/results.json` and the tables of docs/performance.md. A single one:
`.venv/test/bin/python -m tests.bench --only point_in_time`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.bench import increments, made_up, pages, replaying, serving
from tests.bench.measure import ROOT, Figures, in_a_process, interleaved
from tests.bench.peer_tidemill import published
from tests.ports import free_port_base
from tests.retrieval.bench import lists

Results = dict[str, dict[str, Figures]]
PEERS = {"tidemill": ("test", "peer_tidemill"), "feast": ("bench", "peer_feast"),
         "duckdb by hand": ("bench", "peer_duckdb"), "polars": ("bench", "peer_polars")}  # fmt: skip


def point_in_time(folder: Path) -> Results:
    """One million labels beside 24 features, and ten million without Feast, which needs minutes and far more memory."""
    made_up.values(folder, 20_000)
    made_up.labels(folder, 1_000_000, 20_000)
    made_up.labels(folder, 10_000_000, 20_000)
    return {
        "point_in_time": _contest("point_in_time", folder, rounds=3),
        "point_in_time_10m": _contest("point_in_time_10m", folder, rounds=1, without=("feast",)),
    }


def online_store(folder: Path) -> Results:
    """A hundred thousand entities with 24 features into SQLite and Redis, and reads of 1 and of 100 of them."""
    made_up.values(folder, 100_000)
    published(folder)
    found: Results = {}
    with redis_server(folder) as address:
        os.environ["BENCH_REDIS"] = address
        for case in ("materialize_sqlite", "materialize_redis"):
            found[case] = _contest(case, folder, rounds=1, without=("duckdb by hand", "polars"))
        for case in ("read_1_sqlite", "read_100_sqlite", "read_1_redis", "read_100_redis"):
            found[case] = _contest(case, folder, rounds=3, without=("duckdb by hand", "polars"))
    return found


BENCHMARKS: dict[str, Callable[[Path], Results]] = {
    "point_in_time": point_in_time,
    "online_store": online_store,
    "one_more_day": increments.one_more_day,
    "replay": replaying.replay,
    "serving": serving.serving,
    "lists": lists,
}


def _contest(case: str, folder: Path, *, rounds: int, without: tuple[str, ...] = ()) -> dict[str, Figures]:
    contestants = {
        name: partial(in_a_process, environment, peer, case, folder)
        for name, (environment, peer) in PEERS.items()
        if name not in without
    }
    return interleaved(contestants, rounds)


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """The address of a Redis server that lives as long as the block and keeps nothing on disk."""
    binary = shutil.which("redis-server") or next((ROOT / ".venv/bench").glob("**/redis-server"), None)
    if binary is None:
        raise SystemExit("no redis-server; `make .venv/bench/.ready` installs one")
    port = free_port_base()
    command = [str(binary), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    """Runs the benchmarks asked for and merges their figures into those of earlier runs."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", choices=sorted(BENCHMARKS), action="append", help="by default all")
    chosen = parser.parse_args().only or list(BENCHMARKS)
    home = Path(os.environ.get("TIDEMILL_HOME", ROOT / "var")) / "bench"
    home.mkdir(parents=True, exist_ok=True)
    path = home / "results.json"
    results: Results = json.loads(path.read_bytes()) if path.exists() else {}
    for name in chosen:
        print(f"{name}: {(BENCHMARKS[name].__doc__ or '').strip()}", file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=home) as folder:
            results |= BENCHMARKS[name](Path(folder))
        results["machine"] = {
            "this": {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()}
        }
        path.write_text(json.dumps(results, indent=1))
    pages.write(results, ROOT / "docs" / "performance.md")
    print(f"wrote {path} and docs/performance.md")


if __name__ == "__main__":
    main()
