"""Search ranking as a BentoML service: `python -m bentos search`, or `bentoml serve bentos.search.service:Search`."""

from __future__ import annotations

import bentoml

from bentos.http import Application, Doors
from bentos.options import OPTIONS
from bentos.runtime import Runtime
from jobs.projects.search.spec import SEARCH
from jobs.settings import Settings

settings = Settings.load()
application = Application(Runtime(SEARCH, settings), settings)


@bentoml.service(name=SEARCH.name, **OPTIONS)
@bentoml.asgi_app(application, path="/")
class Search:
    """Loads the slot's release before the port opens, and lands its prediction log before the process ends."""

    def __init__(self) -> None:
        application.runtime.start()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        application.runtime.stop()


Search.add_asgi_middleware(Doors, application=application)  # type: ignore[attr-defined]
