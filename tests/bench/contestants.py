"""Who is compared in the bench of serving: how each is started, and what its request looks like."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.settings import ROOT

Vector = dict[str, float]
_UVICORN = ["-m", "uvicorn", "--host", "127.0.0.1", "--no-access-log", "--port", "{port}"]
_BENTOML = ["-m", "bentoml", "serve", "--host", "127.0.0.1", "--port", "{port}"]


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A server: `{port}`, `{second}`, `{third}` and `{folder}` of its command are filled in."""

    environment: str
    command: list[str]
    path: str
    ready: str
    """The path that answers 200 once it serves."""
    body: Callable[[Vector], Any]
    """A request for a vector with named inputs."""
    prepare: Callable[[Path], None] = lambda _: None
    """Writes below the folder what it is started with."""


def _mlserver(folder: Path) -> None:
    (folder / "mlserver").mkdir()
    settings = {"parallel_workers": 0, "debug": False, "host": "127.0.0.1"}
    (folder / "mlserver" / "settings.json").write_text(json.dumps(settings))
    model = {"name": "bench", "implementation": "mlserver_lightgbm.LightGBMModel",
             "parameters": {"uri": str(folder / "model.txt")}}  # fmt: skip
    (folder / "mlserver" / "model-settings.json").write_text(json.dumps(model))


def _mlflow(folder: Path) -> None:
    import lightgbm
    import mlflow.lightgbm

    mlflow.lightgbm.save_model(
        lightgbm.Booster(model_file=folder / "model.txt"), folder / "mlflow", pip_requirements=[]
    )


CONTESTANTS = {
    "bentoml_idiomatic": Contestant(
        environment="serve", command=[*_BENTOML, "tests.bench.peers.bentoml_idiomatic:Predictor"],
        path="/predict", ready="/readyz", body=lambda vector: {"inputs": vector},
    ),
    "bentoml_async": Contestant(
        environment="serve", command=[*_BENTOML, "tests.bench.peers.bentoml_async:Predictor"],
        path="/predict", ready="/readyz", body=lambda vector: {"vector": list(vector.values())},
    ),
    "mlserver": Contestant(
        environment="bench_serving", command=["-m", "mlserver.cli.main", "start", "{folder}/mlserver"],
        path="/v2/models/bench/infer", ready="/v2/models/bench/ready", prepare=_mlserver,
        body=lambda vector: {"inputs": [{"name": "inputs", "shape": [1, len(vector)], "datatype": "FP64",
                                         "data": list(vector.values())}]},
    ),
    "mlflow": Contestant(
        environment="jobs", command=["-m", "mlflow", "models", "serve", "-m", "{folder}/mlflow", "-p", "{port}",
                                     "--host", "127.0.0.1", "--env-manager", "local", "-w", "1"],
        path="/invocations", ready="/ping", prepare=_mlflow,
        body=lambda vector: {"dataframe_split": {"columns": list(vector), "data": [list(vector.values())]}},
    ),
    "fastapi": Contestant(
        environment="jobs", command=[*_UVICORN, "tests.bench.peers.fastapi_idiomatic:app"],
        path="/predict", ready="/docs", body=lambda vector: vector,
    ),
    "bare_asgi": Contestant(
        environment="serve", command=[*_UVICORN, "tests.bench.peers.bare_asgi:app"],
        path="/predict", ready="", body=lambda vector: vector,
    ),
}  # fmt: skip
"""The peers; ours is the slot itself, `python -m bentos`, and is asked for raw events."""


def started(one: Contestant, port: int, folder: Path) -> list[str]:
    """The command with everything filled in."""
    python = str(ROOT / ".venv" / one.environment / "bin" / "python")
    return [python, *(part.format(port=port, folder=folder) for part in one.command)]
