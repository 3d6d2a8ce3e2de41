"""Click prediction as a BentoML service: `python -m bentos ads`, or `bentoml serve bentos.ads.service:Ads`."""

from __future__ import annotations

import bentoml

from bentos.http import Application, Doors
from bentos.options import OPTIONS
from bentos.runtime import Runtime
from jobs.projects.ads.spec import ADS
from jobs.settings import Settings

settings = Settings.load()
application = Application(Runtime(ADS, settings), settings)


@bentoml.service(name=ADS.name, **OPTIONS)
@bentoml.asgi_app(application, path="/")
class Ads:
    """Loads the slot's release before the port opens, and lands its prediction log before the process ends."""

    def __init__(self) -> None:
        application.runtime.start()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        application.runtime.stop()


Ads.add_asgi_middleware(Doors, application=application)  # type: ignore[attr-defined]
