"""The router: who gets how much traffic, and what every attempt came to."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobs.errors import ServiceError, UsageError
from jobs.projects import PROJECTS
from jobs.rollout import admin, envoy
from jobs.rollout.admin import Admin
from jobs.rollout.counters import Counters
from jobs.rollout.routes import Sharing, direct, routes, shadow, with_fallback
from jobs.services import places
from jobs.services.ports import SLOTS, host, listen, port
from jobs.settings import Settings
from jobs.storage import locked, pause, write_atomically

_CLUSTER = re.compile(r"(?P<project>[a-z0-9_]+)-(?P<slot>blue|green)(?P<role>-or-(?:blue|green)|-shadow)?\Z")
_PAUSE = 0.05


class Router:
    """Envoy on this machine: a static configuration, and a routes file that is replaced whole."""

    mirrors = True
    """Whether it can send a slot a copy of every request."""
    drain_seconds = 12.0
    """As long as it waits for an answer, and a little more."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.home.absolute() / "router"
        self.routes = self._folder / "routes.json"
        self._socket = places.sockets_path(settings) / "router-admin.sock"

    def bootstrap(self) -> Path:
        """The path of the static configuration, written anew; the weights that are in force stay."""
        places.sockets(self._settings)
        slots = {project: {slot: self._address(f"serve-{project}-{slot}") for slot in SLOTS} for project in PROJECTS}
        static = envoy.bootstrap(
            address=listen(self._settings), port=port(self._settings, "router"), ready_port=port(self._settings, "router-admin"),
            admin_socket=self._socket, routes=self.routes, slots=slots,
            entities={name: project.entity for name, project in PROJECTS.items()},
            shown=self._settings.routing == "router",
        )  # fmt: skip
        with locked(self._folder):
            write_atomically(self.routes, _text(_found(self._document())))
        path = self._folder / "envoy.json"
        write_atomically(path, json.dumps(static, indent=1).encode())
        return path

    def _address(self, name: str) -> tuple[str, int]:
        return host(self._settings, name), port(self._settings, name)

    def weights(self, project: str) -> dict[str, int]:
        """Percent of the project's traffic for each slot, as the routes file has it; they sum to 100."""
        return dict(self.sharing(project).weights)

    def stable(self, project: str) -> str:
        """The slot that answers for the other when that fails."""
        return self.sharing(project).stable

    def sharing(self, project: str) -> Sharing:
        """Who gets how much of the project's traffic, as the routes file has it."""
        return _found(self._document())[known(project)]

    def holds(self, project: str, sharing: Sharing) -> bool:
        """Whether the project's traffic is shared out so."""
        return self.sharing(project) == sharing

    def set_weights(self, project: str, weights: Mapping[str, int], stable: str, shadow: str | None = None) -> None:
        """Shares the project's traffic out, from the next request on; what is under way is finished where it is.

        `stable` answers what the other slot fails to, and `shadow` is sent a copy of each prediction request. Raises
        UsageError unless the weights sum to 100.
        """
        self._keep(known(project), shares(weights, stable, shadow))

    def drain(self, project: str, slot: str, seconds: float) -> None:
        """Returns when the slot has nothing under way any more; give it no traffic before.

        Raises ServiceError when the slot has traffic, and when requests are still under way after so many seconds.
        """
        refuse_busy(project, slot, self.sharing(project))
        deadline = time.monotonic() + seconds
        while self._under_way(project, slot):
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"slot {slot} of {project} still answers requests after {seconds:.0f} seconds; it was not stopped. "
                    "Start the rollout again"
                )
            time.sleep(_PAUSE)

    def _under_way(self, project: str, slot: str) -> bool:
        """Whether a request is with the slot, or the routes in force are not those of the document yet."""
        version, admins = self._version(), self._admins()
        if any(version not in (None, one.version()) for one in admins):
            return True
        return any(admin.under_way(one.clusters(), direct(project, slot)) for one in admins)

    def observe(self, project: str) -> dict[str, Counters]:
        """Each slot's attempts so far, by the router's own count; raises ServiceError when it does not answer."""
        return self._counted(known(project), direct)

    def observe_shadow(self, project: str) -> dict[str, Counters]:
        """Each slot's mirrored requests so far; raises ServiceError when the router does not answer."""
        return self._counted(known(project), shadow)

    def _counted(self, project: str, cluster: Callable[[str, str], str]) -> dict[str, Counters]:
        (own,) = self._admins()
        return {slot: replace(one, parts={}) for slot, one in by_slot(own, project, cluster).items()}

    def _keep(self, project: str, sharing: Sharing) -> None:
        with locked(self._folder):
            text = replaced(self._document(), project, sharing)
            pause("weights")
            write_atomically(self.routes, text)

    def _document(self) -> bytes | None:
        """The routes as they are to be."""
        return self.routes.read_bytes() if self.routes.exists() else None

    def _version(self) -> str | None:
        """The version of the routes as they are to be; None where nobody has shared anything out yet."""
        found = self._document()
        return str(json.loads(found)["version_info"]) if found else None

    def _admins(self) -> list[Admin]:
        """Every router there is."""
        return [Admin(name="router", url="http://router", socket=self._socket)]


def by_slot(own: Admin, project: str, cluster: Callable[[str, str], str]) -> dict[str, Counters]:
    """What one router counted of each slot, in its clusters of that kind."""
    times, clusters = own.times(project), own.clusters()
    names = {slot: {cluster(project, slot)} for slot in SLOTS}
    if cluster is direct:  # a slot's times as stable and as candidate: each role is another cluster
        names = {slot: {direct(project, slot), *_fallbacks(project, slot)} for slot in SLOTS}
    return {
        slot: admin.counted(own.name, clusters[cluster(project, slot)], admin.latency(times, names[slot]))
        for slot in SLOTS
    }


def shares(weights: Mapping[str, int], stable: str, shadow: str | None) -> Sharing:
    """The sharing that was asked for; raises UsageError unless the weights sum to 100."""
    each = {slot: weights.get(slot, 0) for slot in SLOTS}
    if (
        not set(weights) <= set(SLOTS)
        or stable not in SLOTS
        or shadow not in (None, *SLOTS)
        or min(each.values()) < 0
        or sum(each.values()) != 100
    ):
        raise UsageError(
            f"weights {dict(weights)} with stable {stable!r} are not shares of blue and green that sum to 100"
        )
    return Sharing(weights=each, stable=stable, shadow=shadow)


def refuse_busy(project: str, slot: str, sharing: Sharing) -> None:
    """Raises ServiceError when the slot has traffic."""
    if sharing.weights[slot] or sharing.shadow == slot:
        raise ServiceError(
            f"slot {slot} of {project} has {sharing.weights[slot]} % of the traffic; it was not stopped. "
            "End the rollout first: `tidemill rollout abort`"
        )


def known(project: str) -> str:
    """The project; raises UsageError for one that is not routed."""
    if project not in PROJECTS:
        raise UsageError(f"no project {project!r} is routed; there are: {', '.join(PROJECTS)}")
    return project


def replaced(document: bytes | None, project: str, sharing: Sharing) -> bytes:
    """The routes with the project's traffic shared out so, and the others' as it is."""
    return _text(_found(document) | {project: sharing})


def _found(document: bytes | None) -> dict[str, Sharing]:
    """What the routes say; a project that they do not know has all its traffic at blue."""
    shared = {project: Sharing(weights={"blue": 100, "green": 0}, stable="blue") for project in PROJECTS}
    table = json.loads(document)["resources"][0]["virtual_hosts"][0]["routes"] if document else []
    return shared | {one["name"]: _read(one["route"]) for one in table if one.get("name") in shared}


def _text(shared: Mapping[str, Sharing]) -> bytes:
    return json.dumps(routes(shared, datetime.now(UTC).isoformat()), indent=1).encode()


def _read(action: Mapping[str, Any]) -> Sharing:
    """The sharing that a route of the file stands for."""
    clusters = [(_parsed(one["name"]), one["weight"]) for one in action["weighted_clusters"]["clusters"]]
    mirrors = [_parsed(one["cluster"])["slot"] for one in action.get("request_mirror_policies", ())]
    return Sharing(
        weights={one["slot"]: weight for one, weight in clusters},
        stable=next(one["slot"] for one, _ in clusters if one["role"] is None),
        shadow=mirrors[0] if mirrors else None,
    )


def _fallbacks(project: str, slot: str) -> set[str]:
    return {with_fallback(project, slot, other) for other in SLOTS if other != slot}


def _parsed(cluster: str) -> re.Match[str]:
    match = _CLUSTER.match(cluster)
    if match is None:
        raise ServiceError(f"the routes file names {cluster!r}, which is no slot; remove it and run `tidemill up`")
    return match
