"""`python -m jobs.services.follow ENVOY …`: a router on AWS, Envoy and beside it what brings its routes from the lake.

Envoy is started once its routes are known, and its end is this process's end. A lake that cannot be reached changes
nothing: the routes that there are stay.
"""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

from jobs import mirror
from jobs.errors import TamperedError, TidemillError
from jobs.lake import Lake, address
from jobs.rollout.router import Router
from jobs.settings import Settings

PAUSE = 1.0
"""Seconds between two looks at the lake."""
log = logging.getLogger("tidemill.follow")


class Follower:
    """Keeps the file that Envoy watches as the lake's document is."""

    def __init__(self, settings: Settings) -> None:
        self._document = Lake(settings.lake_uri).routes()
        self._file: Path = Router(settings).routes
        self._tag: str | None = None
        self._said = ""

    def look(self) -> bool:
        """Whether the lake could be read; a newer document is then in the file, and none leaves the file as it is."""
        try:
            self._take()
        except TidemillError as error:
            self._say(f"the routes stay as they are: {error}")
            return False
        except Exception:
            log.exception("the routes stay as they are")
            return False
        return True

    def begin(self) -> None:
        """Returns when the file is as the document is, or there is none: traffic must not go by routes of our own."""
        while not self.look():
            time.sleep(PAUSE)

    def follow(self) -> None:
        """Looks for ever."""
        while True:
            time.sleep(PAUSE)
            self.look()

    def _take(self) -> None:
        if self._tag is None and self._document.name not in mirror.names(self._document.parent):
            return  # who reads what is not there is denied, unless allowed to list the whole bucket
        tag = mirror.tag(self._document)
        if tag is None or tag == self._tag:
            return
        found = mirror.read(self._document)
        if found is None:
            return
        try:
            version = json.loads(found)["version_info"]
        except (ValueError, KeyError, TypeError):
            raise TamperedError(f"{address(self._document)} is no document of routes; set weights again") from None
        mirror.keep(self._file, found)
        self._tag, self._said = tag, ""
        log.info("routes of %s", version)

    def _say(self, line: str) -> None:
        if line != self._said:
            self._said = line
            log.error("%s", line)


def main(command: list[str]) -> int:
    """Envoy's exit code, or 128 and the signal that ended it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s [%(levelname)s] [%(name)s] %(message)s")
    follower = Follower(Settings.load())
    follower.begin()
    envoy = subprocess.Popen(command)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda taken, _: envoy.send_signal(taken))
    Thread(target=follower.follow, daemon=True).start()
    code = envoy.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
