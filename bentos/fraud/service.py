"""Card-payment fraud as a BentoML service: `python -m bentos fraud`, or `bentoml serve bentos.fraud.service:Fraud`."""

from __future__ import annotations

import bentoml

from bentos.http import Application, Doors
from bentos.options import OPTIONS
from bentos.runtime import Runtime
from jobs.projects.fraud.spec import FRAUD
from jobs.settings import Settings

settings = Settings.load()
application = Application(Runtime(FRAUD, settings), settings)


@bentoml.service(name=FRAUD.name, **OPTIONS)
@bentoml.asgi_app(application, path="/")
class Fraud:
    """Loads the slot's release before the port opens, and lands its prediction log before the process ends."""

    def __init__(self) -> None:
        application.runtime.start()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        application.runtime.stop()


Fraud.add_asgi_middleware(Doors, application=application)  # type: ignore[attr-defined]
