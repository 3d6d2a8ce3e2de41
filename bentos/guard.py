"""What a slot makes of one key's requests: limits that refuse, and a watch for patterns that reports."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from bentos import metrics
from bentos.decoding import Refused
from bentos.limits import Limits
from bentos.scanning import Scans
from jobs.settings import Settings
from jobs.spec import Project

_SAVE = 5.0
"""Seconds between two saves of the day's rows: what a kill -9 forgets."""
log = logging.getLogger("tidemill.guard")


class Guard:
    """The limits and the watch of one project's slot. `start` keeps the day's rows on disk until `stop`."""

    def __init__(self, project: Project, settings: Settings) -> None:
        self._limits = Limits(
            project.serving, settings.home / "serving" / project.name / f"{settings.slot}.rows.json"
        )  # fmt: skip
        self._scans = Scans(project, _report)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._save_on, name="guard", daemon=True)

    def start(self) -> None:
        """Begins to save."""
        self._thread.start()

    def stop(self) -> None:
        """Saves once more."""
        self._stopped.set()
        self._thread.join()

    def request(self, key: str) -> None:
        """Raises Refused with 429 when the key asks faster than it may."""
        wait = self._limits.request(key, time.time())
        if wait:
            metrics.LIMITED.labels(key, "requests").inc()
            raise Refused(429, f"key {key} asks too fast; ask again in {wait} s", retry_after=wait)

    def rows(self, key: str, rows: Sequence[Any]) -> None:
        """Counts the rows a key asks about; raises Refused with 429 when they are more than it has left today."""
        now = time.time()
        wait = self._limits.rows(key, len(rows), now)
        if wait:
            metrics.LIMITED.labels(key, "rows").inc()
            raise Refused(429, f"key {key} has not so many rows left today (UTC)", retry_after=wait)
        self._scans.see(key, rows, now)

    def _save_on(self) -> None:
        while not self._stopped.wait(_SAVE):
            self._limits.save()
        self._limits.save()


def _report(key: str, name: str) -> None:
    metrics.SCANS.labels(key, name).inc()
    log.warning("key %s walks along %r with all other inputs the same: is it copying the model?", key, name)
