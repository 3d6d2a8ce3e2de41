"""Envoy's routes, as values: who gets how much of a project's traffic, who stands in, and who is asked in the shadow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.services.ports import SLOTS

ROUTES = "projects"
PATHS = {"predict": "", "explain": "-explain"}
"""What a project answers, and the suffix of the clusters that do: explanations have the same slots and weights in
clusters of their own, because a rollout's verdict counts what becomes of predictions only."""
ENTITY, SHADOW = "x-entity", "x-tidemill-shadow"
"""Who is asked about, which keeps an entity with its slot; and the mark of a mirrored request, which only the router
gives: it is taken from whatever a client sends."""
TYPE = "type.googleapis.com/envoy"
Json = dict[str, Any]
_RETRIES: Json = {
    "retry_on": "5xx,reset,connect-failure,refused-stream",
    "num_retries": 2,
    "per_try_timeout": "3s",
    "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.1s"},
    "retry_priority": {
        "name": "envoy.retry_priorities.previous_priorities",
        "typed_config": {
            "@type": f"{TYPE}.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
            "update_frequency": 1,
        },
    },
}


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """Who gets how much of a project's traffic."""

    weights: Mapping[str, int]
    """Percent for each slot; they sum to 100."""
    stable: str
    """The slot that answers what the other fails to."""
    shadow: str | None = None
    """The slot that is sent a copy of every prediction request, whose answers nobody gets."""


def direct(project: str, slot: str) -> str:
    """The cluster that is the slot and nothing else."""
    return f"{project}-{slot}"


def with_fallback(project: str, slot: str, other: str) -> str:
    """The cluster that is the slot, and the other one for what the slot fails to answer."""
    return f"{project}-{slot}-or-{other}"


def shadow(project: str, slot: str) -> str:
    """The cluster of the slot's mirrored requests, which are counted apart."""
    return f"{project}-{slot}-shadow"


def routes(sharing: Mapping[str, Sharing], version: str) -> Json:
    """The file that shares traffic out: for each project its clusters in a fixed order, and their weights.

    The order never changes: with another order or sum, entities would move between slots at every step.
    """
    table = [
        {"match": {"path": "/livez"}, **says(200, "live")},
        *(_route(project, path, shares) for project, shares in sharing.items() for path in PATHS),
        {"match": {"prefix": "/"}, **says(404, "there is no such path")},
    ]
    host = {"name": "all", "domains": ["*"], "routes": table}
    resource = {
        "@type": f"{TYPE}.config.route.v3.RouteConfiguration",
        "name": ROUTES,
        "virtual_hosts": [host],
        "request_headers_to_remove": [SHADOW],
    }
    return {"version_info": version, "resources": [resource]}


def _route(project: str, path: str, shares: Sharing) -> Json:
    suffix = PATHS[path]
    clusters = [
        direct(project, slot) if slot == shares.stable else with_fallback(project, slot, shares.stable)
        for slot in SLOTS
    ]
    action: Json = {
        "timeout": "10s",
        # Without a header and without the field in the body, a request is somebody's of whom nothing is known.
        "hash_policy": [
            {"header": {"header_name": ENTITY}, "terminal": True},
            {"header": {"header_name": "x-request-id"}},
        ],
        "weighted_clusters": {
            "clusters": [
                {"name": name + suffix, "weight": shares.weights.get(slot, 0)}
                for slot, name in zip(SLOTS, clusters, strict=True)
            ],
            "use_hash_policy": True,
        },
        "retry_policy": _RETRIES,
    }
    if shares.shadow is not None and path == "predict":
        action["request_mirror_policies"] = [_mirror(project, shares.shadow)]
    return {
        "name": project + suffix,
        "match": {"path": f"/{project}/{path}"},
        "route": action,
        "typed_per_filter_config": {
            "entity": {"@type": f"{TYPE}.extensions.filters.http.lua.v3.LuaPerRoute", "name": project}
        },
    }


def _mirror(project: str, slot: str) -> Json:
    mark = {"header": {"key": SHADOW, "value": "1"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    return {
        "cluster": shadow(project, slot),
        "request_headers_mutations": [{"append": mark}],
        "disable_shadow_host_suffix_append": True,
    }


def says(status: int, text: str) -> Json:
    """What a route answers by itself."""
    return {"direct_response": {"status": status, "body": {"inline_string": text}}}
