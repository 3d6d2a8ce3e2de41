"""The least there can be: uvicorn, msgspec and our scorer; no key, no features, no log, no checks of anything."""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from jobs.release.scorer import Scorer

folder = Path(os.environ["BENCH_MODEL"]).parent
scorer = Scorer.load(folder, json.loads((folder / "manifest.json").read_bytes()))
Inputs = msgspec.defstruct("Inputs", [(name, float) for name in scorer.inputs], gc=False)
decode = msgspec.json.Decoder(Inputs).decode


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The probability for one set of named inputs."""
    if scope["type"] != "http":
        return
    inputs = decode((await receive())["body"])
    score = scorer.score(np.array([msgspec.structs.astuple(inputs)]))
    body = msgspec.json.encode({"probability": float(score[0])})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
