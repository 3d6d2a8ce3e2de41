"""The routers of an installation on AWS: each follows one document of the lake, and each is asked what it counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from jobs import mirror
from jobs.bucket import Bucket
from jobs.errors import ServiceError
from jobs.lake import Lake, address
from jobs.rollout import aws
from jobs.rollout.admin import Admin
from jobs.rollout.counters import Counters, together
from jobs.rollout.router import Router, by_slot, replaced
from jobs.rollout.routes import Sharing
from jobs.services.ports import SLOTS, port
from jobs.settings import Settings
from jobs.storage import pause

_TAKEN_SECONDS = 10.0
"""How long new weights wait for every router to take them; who is late is told at the next look."""
_PAUSE = 0.2


class Routers(Router):
    """Every router of the namespace. The document of all projects is replaced by compare-and-set, whoever else does."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._place = Lake(settings.lake_uri).routes()

    def _keep(self, project: str, sharing: Sharing) -> None:
        bucket, key = self._at()
        while True:
            found = bucket.get(key)
            text = replaced(found.data if found else None, project, sharing)
            pause("weights")
            if bucket.swap(key, text, found.tag if found else None):
                break
        with suppress(ServiceError):  # whoever counts says it again
            self._taken()

    def _taken(self) -> list[Admin]:
        """Every router, once the weights are in force: each says their version. Raises ServiceError when one is late."""
        deadline = time.monotonic() + _TAKEN_SECONDS
        while True:
            admins = self._admins()
            late = self._late(admins)
            if admins and not late:
                return admins
            if time.monotonic() > deadline:
                who = f"routers {', '.join(late)} have" if late else "no router has"
                raise ServiceError(
                    f"{who} not taken the routes of {address(self._place)}; nothing is counted until all have. See the "
                    "log of service router"
                )
            time.sleep(_PAUSE)

    def _late(self, admins: list[Admin]) -> list[str]:
        version = self._version()
        return [one.name for one in admins if version not in (None, one.version())]

    def _counted(self, project: str, cluster: Callable[[str, str], str]) -> dict[str, Counters]:
        each = [by_slot(one, project, cluster) for one in self._taken()]
        return {
            slot: together(
                {name: part for one in each for name, part in one[slot].parts.items()},
                healthy=all(one[slot].healthy for one in each),
            )
            for slot in SLOTS
        }

    def _document(self) -> bytes | None:
        bucket, key = self._at()
        found = bucket.get(key)
        return found.data if found else None

    def _at(self) -> tuple[Bucket, str]:
        at = mirror.remote(self._place)
        assert at is not None, "settings refuse a lake that is not on S3"
        return at

    def _admins(self) -> list[Admin]:
        number = port(self._settings, "router-admin")
        return [Admin(name=at, url=f"http://{at}:{number}") for at in aws.addresses(self._settings, "router")]
