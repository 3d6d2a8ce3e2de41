"""Slots on AWS: an ECS service each, whose tasks read what to serve from the lake when they start."""

from __future__ import annotations

import time
from typing import Any

from jobs import mirror
from jobs.errors import ServiceError, SettingError
from jobs.lake import address
from jobs.rollout import aws
from jobs.rollout.slots import Slots, program
from jobs.services.ports import SLOTS, port, service
from jobs.settings import Settings

_NOTHING = b"null"
"""What a slot that serves nothing is told: who may not list a bucket is not told that there is no document."""


class EcsSlots(Slots):
    """The slots of every project as services of one cluster."""

    ready_seconds = 900
    """A deployment starts its tasks beside the old ones, and waits until these are gone."""
    pause = 2.0

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._cluster = settings.need("ecs_cluster")
        self._started: dict[str, str] = {}
        """The deployment that each restart began."""

    def clear(self, project: str, slot: str) -> None:
        """Tells the slot to serve nothing from its next start."""
        self._write(project, slot, _NOTHING)

    def restart(self, project: str, slot: str) -> None:
        """Deploys the slot's service anew: as many tasks as the other slot has, or none when it serves nothing.

        Give it no traffic before. Raises ServiceError or SettingError, with nothing changed.
        """
        name, other = _service(project, slot), _service(project, next(one for one in SLOTS if one != slot))
        count = max(1, int(self._described(other)["desiredCount"])) if self.assignment(project, slot) else 0
        with self._told(f"deploy {name}", "ecs:UpdateService", name):
            answer = aws.client("ecs").update_service(
                cluster=self._cluster, service=name, desiredCount=count, forceNewDeployment=True
            )
        self._started[name] = _primary(answer["service"])["id"]

    def wait_ready(self, project: str, slot: str, release: str | None, seconds: float) -> dict[str, Any]:
        """The slot's readiness once its deployment is complete and every task of it serves that release (None: nothing).

        Raises ServiceError at the deadline, or at once when the deployment failed or a task refused the release.
        """
        deadline = time.monotonic() + seconds
        while not self._deployed(_service(project, slot)):
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"the deployment of {_service(project, slot)} did not end within {seconds:.0f} seconds; see its events "
                    f"in cluster {self._cluster}"
                )
            time.sleep(self.pause)
        if release is None:
            return {}
        return super().wait_ready(project, slot, release, max(0.0, deadline - time.monotonic()) + self.pause)

    def state(self, project: str, slot: str) -> dict[str, Any]:
        """What the slot's tasks say of themselves: the first that is not ready, else any; empty while none answers.

        Tasks come and go with the load, so its process is the deployment.
        """
        states = [state for at in self.addresses(project, slot) if (state := self._asked(at))]
        state = next((one for one in states if not one.get("ready")), states[0] if states else {})
        return state and state | {"process": _primary(self._described(_service(project, slot)))["id"]}

    def addresses(self, project: str, slot: str) -> list[str]:
        """Where each of the slot's tasks answers."""
        number = port(self._settings, program(project, slot))
        return [f"http://{at}:{number}" for at in aws.addresses(self._settings, program(project, slot))]

    def _write(self, project: str, slot: str, data: bytes) -> None:
        path = self._place(project, slot)
        tag = mirror.tag(path)
        if not mirror.swap(path, data, tag):
            raise ServiceError(
                f"somebody else has just written {address(path)}; it was left as it is. Run the command again"
            )

    def _deployed(self, name: str) -> bool:
        service = self._described(name)
        started = self._started.get(name)
        deployments = service["deployments"]
        own = next((one for one in deployments if one["id"] == started), None) if started else _primary(service)
        if own is None:
            raise ServiceError(f"the deployment {started} of {name} was replaced by another; start the rollout again")
        if own.get("rolloutState") == "FAILED":
            raise ServiceError(
                f"the deployment of {name} failed: {own.get('rolloutStateReason') or 'ECS gives no reason'}; see the "
                f"service's events and log in cluster {self._cluster}"
            )
        return own.get("rolloutState") == "COMPLETED"

    def _described(self, name: str) -> dict[str, Any]:
        with self._told(f"describe {name}", "ecs:DescribeServices", name):
            answer = aws.client("ecs").describe_services(cluster=self._cluster, services=[name])
        if not answer["services"]:
            raise SettingError(
                f"cluster {self._cluster!r}, which TIDEMILL_ECS_CLUSTER names, has no service {name}; nothing was changed. "
                "`terraform apply` makes the slots of every project"
            )
        return dict(answer["services"][0])

    def _told(self, doing: str, permission: str, name: str) -> Any:
        return aws.told(doing, permission, "TIDEMILL_ECS_CLUSTER names", f"service {name} in cluster {self._cluster!r}")


def _service(project: str, slot: str) -> str:
    return service(program(project, slot))


def _primary(service: dict[str, Any]) -> dict[str, Any]:
    return next((one for one in service["deployments"] if one["status"] == "PRIMARY"), {"id": "none"})
