"""A slot's whole path without HTTP: `python -m tests.moderation.slot` in the serving environment.

Reads a request's body from standard input, and writes what the slot answers and explains, a JSON line each. What it
answered is in the lake's landing zone when it ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from bentos.asking import Asking
from bentos.runtime import Runtime
from jobs.projects.moderation.spec import MODERATION
from jobs.settings import Settings


def main() -> None:
    """Answers once, each row again by itself, and explains some."""
    runtime = Runtime(MODERATION, Settings.load())
    runtime.start()
    body = sys.stdin.buffer.read()
    rows = json.loads(body)["rows"]

    def asking(sent: bytes, name: str) -> Asking:
        return Asking(sent, name, "test", time.perf_counter() + 60)

    async def work() -> None:
        alone = [
            await runtime.answer(asking(json.dumps(row).encode(), f"a{place}")) for place, row in enumerate(rows[:5])
        ]
        print((await runtime.answer(asking(body, "all"))).decode())
        print(json.dumps({"rows": [json.loads(one) for one in alone]}))
        print((await runtime.explain(asking(json.dumps({"rows": rows[:20]}).encode(), "why"))).decode())
        print(json.dumps(runtime.state()))

    asyncio.run(work())
    runtime.stop()


if __name__ == "__main__":
    main()
