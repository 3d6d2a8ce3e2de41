"""Recommended films as a BentoML service: `python -m bentos recsys`, or `bentoml serve bentos.recsys.service:Recsys`."""

from __future__ import annotations

import bentoml

from bentos.http import Application, Doors
from bentos.options import OPTIONS
from bentos.runtime import Runtime
from jobs.projects.recsys.spec import RECSYS
from jobs.settings import Settings

settings = Settings.load()
application = Application(Runtime(RECSYS, settings), settings)


@bentoml.service(name=RECSYS.name, **OPTIONS)
@bentoml.asgi_app(application, path="/")
class Recsys:
    """Loads the slot's release before the port opens, and lands its prediction log before the process ends."""

    def __init__(self) -> None:
        application.runtime.start()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        application.runtime.stop()


Recsys.add_asgi_middleware(Doors, application=application)  # type: ignore[attr-defined]
