"""Requests answered by a slot's runtime, in the environment that serves: `python -m tests.retrieval.asked < BODIES`.

Each line of the input is a body; each of the output its answer and how long that took.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from bentos.asking import Asking
from bentos.decoding import Refused
from bentos.runtime import Runtime
from jobs.projects.recsys.spec import RECSYS
from jobs.settings import Settings


async def _asked(runtime: Runtime, bodies: list[bytes]) -> None:
    for number, body in enumerate(bodies):
        began = time.perf_counter()
        asking = Asking(body=body, request_id=f"r{number}", key="test", until=began + 10)
        try:
            answer = json.loads(await runtime.answer(asking))
        except Refused as refused:
            answer = {"status": refused.status, **refused.body}
        print(json.dumps({"answer": answer, "milliseconds": (time.perf_counter() - began) * 1_000}))


if __name__ == "__main__":
    serving = Runtime(RECSYS, Settings.load())
    serving.start()
    asyncio.run(_asked(serving, sys.stdin.buffer.read().splitlines()))
    serving.stop()
