"""Serving, ours beside its peers: all servers up at once, each in turn awake and under load, the others stopped."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import numpy as np

from jobs.features.live.state import Events
from jobs.features.online import OnlineStore
from jobs.projects import find
from jobs.release.bundle import Bundle
from jobs.rollout.slots import Slots
from jobs.services.ports import port
from jobs.settings import ROOT, Settings
from tests.bench.contestants import CONTESTANTS, Contestant, started
from tests.bench.load import load, tool
from tests.bench.measure import Figures, interleaved
from tests.ports import free_port_base
from tests.serving.release import train

ROUNDS, SECONDS, WARM_UP = 3, 5.0, 2.0
_ENTITIES, _EVENTS, _KEPT = 5_000, 400_000, 60
_KEY = "key-of-the-bench"
_DAY = datetime(2026, 2, 1, tzinfo=UTC)
_FRAUD = find("fraud")


@dataclass(kw_only=True)
class Server:
    """A contestant that runs, with all below it, and the requests that it gets."""

    process: subprocess.Popen[bytes]
    url: str
    bodies: Path
    lines: int
    at: int = 0

    def measured(self) -> Figures:
        """Requests a second, latencies and CPU a request, under load for some seconds after a warm-up."""
        signalled(_tree(self.process.pid), signal.SIGCONT)
        try:
            self._load(WARM_UP)
            before = cpu_seconds(self.process.pid)
            seen = self._load(SECONDS)
            spent = cpu_seconds(self.process.pid) - before
        finally:
            signalled(_tree(self.process.pid), signal.SIGSTOP)
        return {
            "requests_per_second": round(seen["requests"] / seen["seconds"]),
            "p50_milliseconds": round(seen["p50"], 2),
            "p99_milliseconds": round(seen["p99"], 2),
            "cpu_microseconds": round(spent / seen["requests"] * 1e6),
        }

    def _load(self, seconds: float) -> dict[str, float]:
        seen = load(self.url, self.bodies, self.at, _KEY, seconds)
        self.at = int(self.at + seen["requests"]) % self.lines
        if seen["failed"]:
            raise SystemExit(f"{seen['failed']:.0f} of {seen['requests']:.0f} requests to {self.url} failed")
        return seen


def serving(folder: Path) -> dict[str, dict[str, Figures]]:
    """Single predictions of one LightGBM model at 32 connections; ours looks its features up and logs, the others do not."""
    bundle, base = train(_FRAUD, folder / "train", folder / "releases"), free_port_base()
    (folder / "model.txt").write_bytes((bundle.folder / bundle.manifest["models"][0]["file"]).read_bytes())
    with ExitStack() as running:
        servers = {"tidemill": running.enter_context(_ours(folder, bundle, base))}
        for number, (name, one) in enumerate(CONTESTANTS.items()):
            servers[name] = running.enter_context(_peer(name, one, base + 20 + 3 * number, folder, bundle))
        print(f"  load by {tool()}")
        found = interleaved({name: server.measured for name, server in servers.items()}, ROUNDS)
        dropped = _dropped(servers["tidemill"])
    if dropped:
        raise SystemExit(f"the slot dropped {dropped} records of its prediction log")
    return {"serving": found}


@contextmanager
def _ours(folder: Path, bundle: Bundle, base: int) -> Iterator[Server]:
    settings = Settings(
        _env_file=None, home=folder / "home", lake_uri=str(folder / "lake"), port_base=base, api_key=_KEY,
        online_store_url=f"sqlite:///{folder / 'online'}",
    )  # type: ignore[call-arg]  # fmt: skip
    _fill(OnlineStore.open(settings.online_store_url, _FRAUD))
    Slots(settings).assign(_FRAUD.name, "blue", bundle.release, bundle.digest, 1, bundle.folder)
    environment = {
        "TIDEMILL_HOME": str(settings.home), "TIDEMILL_LAKE_URI": settings.lake_uri, "TIDEMILL_API_KEY": _KEY,
        "TIDEMILL_ONLINE_STORE_URL": settings.online_store_url, "TIDEMILL_PORT_BASE": str(base),
    }  # fmt: skip
    command = [str(ROOT / ".venv/serve/bin/python"), "-m", "bentos", _FRAUD.name, "blue"]
    url = f"http://127.0.0.1:{port(settings, f'serve-{_FRAUD.name}-blue')}"
    chance, bodies = random.Random(3), folder / "tidemill.jsonl"
    with bodies.open("w") as file:
        for number in range(_EVENTS):
            at = _DAY + timedelta(seconds=number * 80_000 // _EVENTS)
            row = {
                "transaction_id": f"20260201{number:06}", "event_time": at.isoformat(),
                "customer_id": f"c{chance.randrange(_ENTITIES)}", "terminal_id": f"t{chance.randrange(_ENTITIES)}",
                "amount_cents": chance.randrange(20_000),
            }  # fmt: skip
            file.write(json.dumps(row) + "\n")
    with _process(command, environment, url + "/readyz", folder / "tidemill.log") as process:
        yield Server(process=process, url=f"{url}/{_FRAUD.name}/predict", bodies=bodies, lines=_EVENTS)


@contextmanager
def _peer(name: str, one: Contestant, number: int, folder: Path, bundle: Bundle) -> Iterator[Server]:
    one.prepare(folder)
    chance, inputs, bodies = np.random.default_rng(3), _FRAUD.models[-1].inputs, folder / f"{name}.jsonl"
    vectors = np.abs(chance.normal(size=(1_000, len(inputs)))) * 50
    rows = [one.body(dict(zip(inputs, vector, strict=True))) for vector in vectors.round(3).tolist()]
    bodies.write_text("".join(json.dumps(row) + "\n" for row in rows))
    environment = {
        "BENCH_MODEL": str(bundle.folder / bundle.manifest["models"][0]["file"]), "BENCH_INPUTS": ",".join(inputs),
        "MLSERVER_HTTP_PORT": str(number), "MLSERVER_GRPC_PORT": str(number + 1), "BENTOML_HOME": str(folder / "bentoml"),
        "MLSERVER_METRICS_PORT": str(number + 2), "BENTOML_DO_NOT_TRACK": "true",
    }  # fmt: skip
    url = f"http://127.0.0.1:{number}"
    ready = url + one.ready if one.ready else None
    with _process(started(one, number, folder), environment, ready, folder / f"{name}.log") as process:
        yield Server(process=process, url=url + one.path, bodies=bodies, lines=len(rows))


@contextmanager
def _process(
    command: list[str], environment: dict[str, str], ready: str | None, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    values = {**os.environ, **environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    values["PATH"] = f"{Path(command[0]).parent}:{values['PATH']}"
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=values, cwd=ROOT, stdout=file, stderr=file, start_new_session=True)
    try:
        _wait(process, ready, log)
        signalled(_tree(process.pid), signal.SIGSTOP)
        yield process
    finally:
        tree = list(_tree(process.pid))
        signalled(tree, signal.SIGCONT)
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        signalled(tree, signal.SIGKILL)
        process.wait()


def _wait(process: subprocess.Popen[bytes], ready: str | None, log: Path) -> None:
    opened, deadline = build_opener(ProxyHandler({})), time.monotonic() + 120
    while ready is not None:
        try:
            opened.open(ready, timeout=2).close()
            break
        except (URLError, OSError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"a server did not start:\n{log.read_text()[-3000:]}") from None
            time.sleep(0.2)
    time.sleep(3.0)  # its start is not what is measured


def _fill(store: OnlineStore) -> None:
    """Every customer and terminal with a month of events before the day that is served."""
    chance, at = np.random.default_rng(1), int(_DAY.timestamp()) * 1_000_000
    for view in _FRAUD.views:
        rows = [(f"c{key}", [key % 9 + one for one in range(len(view.features))]) for key in range(_ENTITIES)]
        store.write(view, [((key,), at, values) for key, values in rows])
    for live in _FRAUD.live_views:
        kind, width = live.entity[0][0], len(live.columns)
        events = {}
        for key in range(_ENTITIES):
            times = np.sort(at - chance.integers(0, 30 * 86_400, _KEPT) * 1_000_000)
            ids = [f"20260101{key:05}{number:02}" for number in range(_KEPT)]
            events[(f"{kind}{key}",)] = Events(times, ids, chance.integers(0, 2_000, (_KEPT, width)))
        store.merge(live, events.items())
    store.close()


def cpu_seconds(process: int) -> float:
    """The CPU seconds that a process and all below it have used so far, ended children included."""
    ticks = sum(sum(map(int, fields[11:15])) for fields in _tree(process).values())
    return ticks / os.sysconf("SC_CLK_TCK")


def signalled(processes: Iterable[int], how: signal.Signals) -> None:
    """Sends a signal to every one of the processes that is still there."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, how)


def _tree(process: int) -> dict[int, list[str]]:
    """A process and all below it, each with what follows its name in /proc/<process>/stat."""
    every: dict[int, list[str]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            every[int(path.parent.name)] = path.read_text().rpartition(")")[2].split()
    found, look = {}, [process]
    while look:
        one = look.pop()
        if one in every:
            found[one] = every[one]
            look += [child for child, fields in every.items() if int(fields[1]) == one]
    return found


def _dropped(server: Server) -> float:
    signalled(_tree(server.process.pid), signal.SIGCONT)
    opened = build_opener(ProxyHandler({}))
    opened.addheaders = [("Authorization", f"Bearer {_KEY}")]
    text = opened.open(server.url.replace(f"/{_FRAUD.name}/predict", "/metrics"), timeout=5).read().decode()
    lines = [line.split() for line in text.splitlines() if line.startswith("tidemill_predictions_dropped_total")]
    return sum(float(value) for _, value in lines)
