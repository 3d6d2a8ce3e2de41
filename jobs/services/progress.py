"""A line per service while they start, on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from jobs.errors import ServiceError
from jobs.services import health, places, supervisor
from jobs.settings import Settings

_POLL_SECONDS = 0.25
_GIVEN_UP = ("FATAL",)


class Board:
    """Watches services until each answers; shows them when standard error is a terminal."""

    def __init__(self, names: Iterable[str], settings: Settings) -> None:
        self._settings = settings
        self._began = time.monotonic()
        self.seconds: dict[str, float] = {}
        """How long after the beginning each service answered."""
        columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), TimeElapsedColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
        self._tasks: dict[str, TaskID] = {name: self._progress.add_task(name, total=1) for name in names}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def wait(self, names: Iterable[str], until: float) -> None:
        """Returns when all of these answer; raises ServiceError for the first that gave up or is too late."""
        waiting = [name for name in names if name not in self.seconds]
        hosted = self._settings.hosts == "named"
        while waiting:
            states = {} if hosted else supervisor.states(self._settings) or {}
            for name in list(waiting):
                if (hosted or states.get(name) == "RUNNING") and health.ready(self._settings, name):
                    waiting.remove(name)
                    self.seconds[name] = round(time.monotonic() - self._began, 1)
                    self._progress.update(self._tasks[name], completed=1)
                elif states.get(name) in _GIVEN_UP:
                    raise self._failure(name, "ended again and again")
            if waiting and time.monotonic() - self._began > until:
                raise self._failure(waiting[0], f"did not answer within {until:.0f} s")
            if waiting:
                time.sleep(_POLL_SECONDS)

    def _failure(self, name: str, what: str) -> ServiceError:
        log = places.logs(self._settings) / f"{name}.log"
        lines = log.read_text(errors="replace").splitlines()[-12:] if log.exists() else []
        return ServiceError("\n".join([f"{name} {what}; the end of {log}:", *(f"  {line}" for line in lines)]))
