"""Load from a process of its own: wrk where it is installed, else this, which does the same.

Both take lines of a file in turn as bodies, keep so many connections busy, and say the same of it as JSON.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CONNECTIONS = 32
_WRK = """
local bodies, at = {}, 0
function init(args)
  local skip, line = tonumber(args[2]), 0
  for body in io.lines(args[1]) do
    line = line + 1
    if line > skip then bodies[#bodies + 1] = body end
  end
  wrk.method = "POST"
  wrk.headers["content-type"] = "application/json"
  wrk.headers["authorization"] = "Bearer " .. args[3]
end
function request()
  at = at % #bodies + 1
  return wrk.format(nil, nil, nil, bodies[at])
end
function done(summary, latency)
  local wrong = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout
  io.write(string.format('{"requests": %d, "failed": %d, "seconds": %f, "p50": %f, "p99": %f}\\n', summary.requests,
    wrong, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


def tool() -> str:
    """What makes the load: `wrk` or `asyncio`."""
    return "wrk" if shutil.which("wrk") else "asyncio"


def load(url: str, bodies: Path, skip: int, key: str, seconds: float) -> dict[str, float]:
    """Requests, how many failed, seconds, and p50 and p99 in milliseconds."""
    script = bodies.with_name("load.lua")
    script.write_text(_WRK)
    wrk = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:.0f}s", "--timeout", "10s", "-s", str(script), url, "--"]
    command = wrk if tool() == "wrk" else [sys.executable, "-m", "tests.bench.load", url, str(seconds)]
    done = subprocess.run([*command, str(bodies), str(skip), key], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


class _Client(asyncio.Protocol):
    """One connection with one request under way at a time."""

    def __init__(self, run: _Run) -> None:
        self._run, self._buffer, self.transport = run, b"", None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        length = self._buffer[:head].lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        if head < 0 or len(self._buffer) < head + 4 + int(length):
            return
        self._run.answered(self._buffer[9:12] == b"200", time.perf_counter() - self._began)
        self._buffer = b""
        self._send()

    def _send(self) -> None:
        self._began = time.perf_counter()
        if self._began < self._run.until:
            self.transport.write(next(self._run.requests))  # type: ignore[attr-defined]


class _Run:
    """What all connections share."""

    def __init__(self, url: str, seconds: float, bodies: list[bytes], key: str) -> None:
        parts = urlsplit(url)
        head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
        head += f"authorization: Bearer {key}\r\ncontent-length: "
        made = [head.encode() + b"%d\r\n\r\n" % len(body) + body for body in bodies]
        self.requests = (made[number % len(made)] for number in range(10**12))
        self.until, self.failed, self.waits = time.perf_counter() + seconds, 0, list[float]()

    def answered(self, well: bool, seconds: float) -> None:
        self.waits.append(seconds)
        self.failed += not well


async def _load(url: str, seconds: float, bodies: list[bytes], key: str) -> dict[str, float]:
    parts, run = urlsplit(url), _Run(url, seconds, bodies, key)
    for _ in range(CONNECTIONS):
        await asyncio.get_running_loop().create_connection(lambda: _Client(run), parts.hostname, parts.port)
    await asyncio.sleep(seconds)
    waits = sorted(run.waits)
    return {"requests": len(waits), "failed": run.failed, "seconds": seconds,
            "p50": waits[len(waits) // 2] * 1e3, "p99": waits[len(waits) * 99 // 100] * 1e3}  # fmt: skip


if __name__ == "__main__":
    address, duration, file, skipped, bearer = sys.argv[1:]
    lines = Path(file).read_bytes().splitlines()[int(skipped) :]
    print(json.dumps(asyncio.run(_load(address, float(duration), lines, bearer))))
