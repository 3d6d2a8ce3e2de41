"""The router: who gets how much traffic, and what every attempt came to."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobs.errors import ServiceError, UsageError
from jobs.projects import PROJECTS
from jobs.rollout import envoy
from jobs.rollout.routes import ROUTES, Sharing, direct, routes, shadow, with_fallback
from jobs.rollout.statistics import quantile
from jobs.services import places
from jobs.services.ports import SLOTS, host, listen, port
from jobs.settings import Settings
from jobs.storage import locked, pause, write_atomically

_CLUSTER = re.compile(r"(?P<project>[a-z0-9_]+)-(?P<slot>blue|green)(?P<role>-or-(?:blue|green)|-shadow)?\Z")
_PAUSE = 0.05
Histogram = tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Counters:
    """What a slot's attempts came to since the router started.

    A retried request is an attempt at each slot, so a candidate whose failures the stable slot makes good
    still shows them here.
    """

    attempts: int = 0
    errors: int = 0
    """Answers of 500 and above, and attempts that ended without an answer."""
    timeouts: int = 0
    connect_failures: int = 0
    latency: Histogram = ()
    """Upper bound in milliseconds and count: of the requests routed to this slot, their retries included."""
    own: Histogram = ()
    """The same by the slot's own clock, which knows parts of a millisecond; the router's knows whole ones."""
    scores: Histogram = ()
    """Upper bound and count of the scores it answered, by its own count."""
    resident_bytes: float | None = None
    """The memory of its process."""
    healthy: bool = False
    """Whether the router sends it requests: its health checks pass and it was not ejected."""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What happened between two observations of a slot."""

    requests: int
    errors: int
    latency: Histogram
    own: Histogram = ()
    scores: Histogram = ()
    grown_bytes: float | None = None
    """How much more memory its process has than before."""

    @property
    def error_rate(self) -> float | None:
        """Errors per request; None without requests."""
        return self.errors / self.requests if self.requests else None

    def quantile(self, q: float) -> float | None:
        """Milliseconds within which a share q of the answers came; None without any."""
        return quantile(self.latency, q)


def between(before: Counters, after: Counters) -> Traffic:
    """The traffic from one observation to a later one; a router that restarted in between counted from zero."""
    if after.attempts < before.attempts:
        before = Counters()
    return Traffic(
        requests=after.attempts - before.attempts,
        errors=max(0, after.errors - before.errors),
        latency=_since(before.latency, after.latency),
        own=_since(before.own, after.own),
        scores=_since(before.scores, after.scores),
        grown_bytes=None
        if before.resident_bytes is None or after.resident_bytes is None
        else after.resident_bytes - before.resident_bytes,
    )


def _since(before: Histogram, after: Histogram) -> Histogram:
    """What was counted in between; a slot that restarted counted from zero."""
    earlier = dict(before) if sum(count for _, count in before) <= sum(count for _, count in after) else {}
    return tuple((bound, max(0.0, count - earlier.get(bound, 0.0))) for bound, count in after)


class Router:
    """Envoy on this machine: a static configuration, and a routes file that is replaced whole."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.home.absolute() / "router"
        self._routes = self._folder / "routes.json"
        self._socket = places.sockets_path(settings) / "router-admin.sock"

    def bootstrap(self) -> Path:
        """The path of the static configuration, written anew; the weights that are in force stay."""
        places.sockets(self._settings)
        slots = {project: {slot: self._address(f"serve-{project}-{slot}") for slot in SLOTS} for project in PROJECTS}
        static = envoy.bootstrap(
            address=listen(self._settings), port=port(self._settings, "router"), ready_port=port(self._settings, "router-admin"),
            admin_socket=self._socket, routes=self._routes, slots=slots,
            entities={name: project.entity for name, project in PROJECTS.items()},
        )  # fmt: skip
        with locked(self._folder):
            self._write(self._shared())
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
        return self._shared()[_known(project)]

    def set_weights(self, project: str, weights: Mapping[str, int], stable: str, shadow: str | None = None) -> None:
        """Shares the project's traffic out, from the next request on; what is under way is finished where it is.

        `stable` answers what the other slot fails to, and `shadow` is sent a copy of each prediction request. Raises
        UsageError unless the weights sum to 100.
        """
        shares = {slot: weights.get(slot, 0) for slot in SLOTS}
        if (
            not set(weights) <= set(SLOTS)
            or stable not in SLOTS
            or shadow not in (None, *SLOTS)
            or min(shares.values()) < 0
            or sum(shares.values()) != 100
        ):
            raise UsageError(
                f"weights {dict(weights)} with stable {stable!r} are not shares of blue and green that sum to 100"
            )
        with locked(self._folder):
            shared = self._shared()
            shared[_known(project)] = Sharing(weights=shares, stable=stable, shadow=shadow)
            self._write(shared)

    def drain(self, project: str, slot: str, seconds: float) -> None:
        """Returns when the slot has nothing under way any more; give it no traffic before.

        Raises ServiceError when the slot has traffic, and when requests are still under way after so many seconds.
        """
        shares, deadline = self.sharing(project), time.monotonic() + seconds
        if shares.weights[slot] or shares.shadow == slot:
            raise ServiceError(
                f"slot {slot} of {project} has {shares.weights[slot]} % of the traffic; it was not stopped. "
                "End the rollout first: `tidemill rollout abort`"
            )
        while self._under_way(project, slot):
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"slot {slot} of {project} still answers requests after {seconds:.0f} seconds; it was not stopped. "
                    "Start the rollout again"
                )
            time.sleep(_PAUSE)

    def _under_way(self, project: str, slot: str) -> bool:
        """Whether a request is with the slot, or the routes in force are not those of the file yet."""
        version = json.loads(self._routes.read_bytes())["version_info"]
        name = f"http.router.rds.{ROUTES}.version_text"
        texts = self._admin("/stats", {"format": "json", "type": "TextReadouts", "filter": f"^{re.escape(name)}$"})
        if version not in [stat.get("value") for stat in texts["stats"]]:
            return True
        clusters = self._admin("/clusters", {"format": "json"})["cluster_statuses"]
        mine = [one for one in clusters if one["name"].startswith(direct(project, slot))]
        hosts = [host for one in mine for host in one.get("host_statuses", ())]
        return any(int(stat.get("value", 0)) for host in hosts for stat in host["stats"] if stat["name"] == "rq_active")

    def observe(self, project: str) -> dict[str, Counters]:
        """Each slot's attempts so far, by the router's own count; raises ServiceError when it does not answer."""
        return self._counted(_known(project), direct)

    def observe_shadow(self, project: str) -> dict[str, Counters]:
        """Each slot's mirrored requests so far; raises ServiceError when the router does not answer."""
        return self._counted(_known(project), shadow)

    def _counted(self, project: str, cluster: Callable[[str, str], str]) -> dict[str, Counters]:
        pattern = f"^cluster\\.{project}-[a-z-]+\\.upstream_rq_time$"
        found = self._admin("/stats", {"format": "json", "histogram_buckets": "disjoint", "filter": pattern})
        timed = [histogram for stat in found["stats"] for histogram in stat.get("histograms", ())]
        clusters = {one["name"]: one for one in self._admin("/clusters", {"format": "json"})["cluster_statuses"]}
        names = {slot: {cluster(project, slot)} for slot in SLOTS}
        if cluster is direct:  # a slot's times as stable and as candidate: each role is another cluster
            names = {slot: {direct(project, slot), *_fallbacks(project, slot)} for slot in SLOTS}
        return {slot: _counters(clusters[cluster(project, slot)], _latency(timed, names[slot])) for slot in SLOTS}

    def _shared(self) -> dict[str, Sharing]:
        """What the routes file says; a project it does not know has all its traffic at blue."""
        known = {project: Sharing(weights={"blue": 100, "green": 0}, stable="blue") for project in PROJECTS}
        try:
            found = json.loads(self._routes.read_bytes())
        except FileNotFoundError:
            return known
        for route in found["resources"][0]["virtual_hosts"][0]["routes"]:
            if route.get("name") in known:
                known[route["name"]] = _read(route["route"])
        return known

    def _write(self, shared: Mapping[str, Sharing]) -> None:
        text = json.dumps(routes(shared, datetime.now(UTC).isoformat()), indent=1)
        pause("weights")
        write_atomically(self._routes, text.encode())

    def _admin(self, path: str, parameters: Mapping[str, str]) -> Any:
        import httpx

        try:
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(self._socket)), timeout=5) as client:
                answer = client.get(f"http://router{path}", params=parameters)
                answer.raise_for_status()
                return answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise ServiceError(
                f"the router does not answer on {self._socket}: {error}; see `tidemill status`"
            ) from error


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


def _known(project: str) -> str:
    if project not in PROJECTS:
        raise UsageError(f"no project {project!r} is routed; there are: {', '.join(PROJECTS)}")
    return project


def _counters(cluster: Mapping[str, Any], latency: Histogram) -> Counters:
    host = cluster["host_statuses"][0]
    values = {stat["name"]: int(stat.get("value", 0)) for stat in host["stats"]}
    failing = [name for name, value in host["health_status"].items() if name.startswith("failed_") and value]
    return Counters(
        attempts=values["rq_success"] + values["rq_error"],
        errors=values["rq_error"],
        timeouts=values["rq_timeout"],
        connect_failures=values["cx_connect_fail"],
        latency=latency,
        healthy=not failing,
    )


def _latency(histograms: list[dict[str, Any]], clusters: set[str]) -> Histogram:
    names = {f"cluster.{name}.upstream_rq_time" for name in clusters}
    counts: Counter[float] = Counter()
    for histogram in histograms:
        if histogram["name"] in names:
            for bucket in histogram["buckets"]:
                counts[float(bucket["upper_bound"])] += bucket["cumulative"]
    return tuple(sorted(counts.items()))
