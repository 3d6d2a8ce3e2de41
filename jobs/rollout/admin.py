"""What one Envoy says of itself: which routes it took, and what became of the attempts at each slot."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.errors import ServiceError
from jobs.rollout.counters import Counters, Histogram, together
from jobs.rollout.routes import ROUTES


@dataclass(frozen=True, kw_only=True)
class Admin:
    """One router, as it is asked about itself. Every method raises ServiceError when it does not answer."""

    name: str
    """What its counts are told apart by."""
    url: str
    socket: Path | None = None
    """The Unix socket of this machine's own; others show on a port what can only be read."""

    def version(self) -> str | None:
        """The version of the routes that are in force."""
        name = f"http.router.rds.{ROUTES}.version_text"
        texts = self._get("/stats", {"format": "json", "type": "TextReadouts", "filter": f"^{re.escape(name)}$"})
        return next((str(stat.get("value")) for stat in texts["stats"]), None)

    def clusters(self) -> dict[str, list[dict[str, Any]]]:
        """The hosts of every cluster, each with its statistics."""
        found = self._get("/clusters", {"format": "json"})["cluster_statuses"]
        return {one["name"]: one.get("host_statuses", []) for one in found}

    def times(self, project: str) -> list[dict[str, Any]]:
        """The histograms of how long the project's clusters took."""
        pattern = f"^cluster\\.{project}-[a-z-]+\\.upstream_rq_time$"
        found = self._get("/stats", {"format": "json", "histogram_buckets": "disjoint", "filter": pattern})
        return [histogram for stat in found["stats"] for histogram in stat.get("histograms", ())]

    def _get(self, path: str, parameters: Mapping[str, str]) -> Any:
        import httpx

        transport = httpx.HTTPTransport(uds=str(self.socket)) if self.socket else None
        try:
            with httpx.Client(transport=transport, timeout=5, trust_env=False) as client:
                answer = client.get(f"{self.url}{path}", params=parameters)
                answer.raise_for_status()
                return answer.json()
        except (httpx.HTTPError, ValueError) as error:
            where = self.socket or self.url
            raise ServiceError(f"the router does not answer on {where}: {error}; see `tidemill status`") from error


def counted(name: str, hosts: list[dict[str, Any]], latency: Histogram) -> Counters:
    """What one router counted of a slot: its times for all of the slot's hosts, its attempts for each of them."""
    parts = {name: Counters(latency=latency)} | {f"{name} {_address(host)}": _attempts(host) for host in hosts}
    return together(parts, healthy=bool(hosts) and all(parts[f"{name} {_address(host)}"].healthy for host in hosts))


def latency(histograms: list[dict[str, Any]], clusters: set[str]) -> Histogram:
    """The times of several clusters together."""
    names = {f"cluster.{name}.upstream_rq_time" for name in clusters}
    counts: Counter[float] = Counter()
    for histogram in histograms:
        if histogram["name"] in names:
            for bucket in histogram["buckets"]:
                counts[float(bucket["upper_bound"])] += bucket["cumulative"]
    return tuple(sorted(counts.items()))


def under_way(clusters: Mapping[str, list[dict[str, Any]]], prefix: str) -> bool:
    """Whether a host of a cluster whose name begins so has a request to answer."""
    hosts = [host for name, own in clusters.items() if name.startswith(prefix) for host in own]
    return any(int(stat.get("value", 0)) for host in hosts for stat in host["stats"] if stat["name"] == "rq_active")


def _attempts(host: Mapping[str, Any]) -> Counters:
    values = {stat["name"]: int(stat.get("value", 0)) for stat in host["stats"]}
    failing = [name for name, value in host["health_status"].items() if name.startswith("failed_") and value]
    return Counters(
        attempts=values["rq_success"] + values["rq_error"],
        errors=values["rq_error"],
        timeouts=values["rq_timeout"],
        connect_failures=values["cx_connect_fail"],
        healthy=not failing,
    )


def _address(host: Mapping[str, Any]) -> str:
    socket = host["address"]["socket_address"]
    return f"{socket['address']}:{socket['port_value']}"
