"""Moderation of posts as a BentoML service: `python -m bentos moderation`, or `bentoml serve` of its `service:Moderation`."""

from __future__ import annotations

import bentoml

from bentos.http import Application, Doors
from bentos.options import OPTIONS
from bentos.runtime import Runtime
from jobs.projects.moderation.spec import MODERATION
from jobs.settings import Settings

settings = Settings.load()
application = Application(Runtime(MODERATION, settings), settings)


@bentoml.service(name=MODERATION.name, **OPTIONS)
@bentoml.asgi_app(application, path="/")
class Moderation:
    """Loads the slot's release before the port opens, and lands its prediction log before the process ends."""

    def __init__(self) -> None:
        application.runtime.start()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        application.runtime.stop()


Moderation.add_asgi_middleware(Doors, application=application)  # type: ignore[attr-defined]
