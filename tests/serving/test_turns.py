"""Requests answered together are answered as if each had come alone; in the environment that serves."""

from __future__ import annotations

import json
import subprocess

from jobs.settings import ROOT

PROGRAM = """
import asyncio, json, time
from bentos.asking import Asking
from bentos.decoding import Refused
from bentos.turns import Turns

together = []

def predict(rows, ids, lists, *, shadow):
    together.append(len(rows))
    if "bad" in rows:
        raise Refused(500, "it answered something that is not a number")
    return [f"{name} of {row}" for row, name in zip(rows, ids, strict=True)]

async def ask():
    turns, until = Turns(predict), time.perf_counter() + 60
    asked = [turns.predictions(Asking(b"", row, "key", until), [row], [row]) for row in ("good", "bad", "fine")]
    return await asyncio.gather(*asked, return_exceptions=True)

answers = asyncio.run(ask())
print(json.dumps([together, [one.status if isinstance(one, Refused) else one for one in answers]]))
"""


def test_a_row_that_cannot_be_scored_fails_its_own_request_and_no_other() -> None:
    command = [ROOT / ".venv/serve/bin/python", "-c", PROGRAM]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    together, answers = json.loads(done.stdout)
    assert together == [3, 1, 1, 1]
    assert answers == [["good of good"], 500, ["fine of fine"]]
