"""Runs one slot of a project: `python -m bentos fraud blue`.

It is what `bentoml serve` starts as its worker (the service's ASGI application on uvicorn), without the
arbiter above it: the supervisor of the services is that already. One process, so a port that answers
nothing is closed rather than silent when the process dies, and SIGTERM drains what is under way.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import time

from bentos.options import ENVIRONMENT


def main(arguments: list[str] | None = None) -> None:
    """Serves until SIGTERM; the port is the slot's by `jobs.services.ports`."""
    parser = argparse.ArgumentParser(prog="python -m bentos", description=__doc__)
    parser.add_argument("project")
    parser.add_argument("slot", choices=("blue", "green"))
    asked = parser.parse_args(arguments)
    os.environ["TIDEMILL_SLOT"] = asked.slot
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)

    from jobs.projects import find
    from jobs.services.ports import listen, port
    from jobs.settings import Settings

    settings = Settings.load()
    project = find(asked.project)
    os.environ.setdefault("BENTOML_HOME", str(settings.home.absolute() / "bentoml"))
    _serve(project.name, listen(settings), port(settings, f"serve-{project.name}-{asked.slot}"))


def _serve(project: str, host: str, port: int) -> None:
    import uvicorn
    from _bentoml_sdk import Service  # type: ignore[import-untyped]
    from bentoml._internal.log import configure_server_logging

    configure_server_logging()  # silences every logger that is there already
    log_to_standard_error()
    from bentos.http import Doors

    module = importlib.import_module(f"bentos.{project}.service")
    service = next(value for value in vars(module).values() if isinstance(value, Service))
    uvicorn.run(
        Doors(service.to_asgi(is_main=False), module.application),
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=8,
    )


def log_to_standard_error() -> None:
    """Writes what the slot has to say to standard error, which the supervisor keeps."""
    handler, ours = logging.StreamHandler(), logging.getLogger("tidemill")
    formatter = logging.Formatter("%(asctime)s [%(levelname)s] [%(name)s] %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    ours.propagate = False


if __name__ == "__main__":
    main()
