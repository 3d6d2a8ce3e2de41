"""A slot of a project that is declared otherwise: `python -m tests.serving.worker blue '{"round_scores": 3}'`.

The values are those of `Serving`; `batch_only` in place of live views has batch views of the same names and features.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from datetime import timedelta
from typing import Any

from jobs.projects.fraud.spec import FRAUD
from jobs.spec import FeatureView, Project, Serving


def variant(*, batch_only: bool = False, **serving: Any) -> Project:
    """The fraud project served otherwise."""
    if not batch_only:
        return replace(FRAUD, serving=Serving(**serving))
    views = tuple(
        FeatureView(name=view.name, entity=view.entity, features=view.features, lookback_days=30, ttl=timedelta(days=3))
        for view in FRAUD.live_views
    )
    return replace(FRAUD, views=views, live_views=(), serving=Serving(**serving))


def main() -> None:
    """Serves until SIGTERM, as `python -m bentos` does."""
    import uvicorn

    from bentos.__main__ import log_to_standard_error
    from bentos.http import Application
    from bentos.runtime import Runtime
    from jobs.services.ports import port
    from jobs.settings import Settings

    slot, serving = sys.argv[1], json.loads(sys.argv[2])
    os.environ |= {"TIDEMILL_SLOT": slot, "OMP_NUM_THREADS": "1"}
    settings, project = Settings.load(), variant(**serving)
    log_to_standard_error()
    runtime = Runtime(project, settings)
    application = Application(runtime, settings)

    async def served(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            return await application(scope, receive, send)
        for event, work in (("startup", runtime.start), ("shutdown", runtime.stop)):
            await receive()
            work()
            await send({"type": f"lifespan.{event}.complete"})
        return None

    uvicorn.run(
        served, host="127.0.0.1", port=port(settings, f"serve-{project.name}-{slot}"),
        loop="uvloop", http="httptools", access_log=False, log_config=None, timeout_graceful_shutdown=8,
    )  # fmt: skip


if __name__ == "__main__":
    main()
