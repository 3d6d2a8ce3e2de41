"""Envoy's configuration for this machine, as values; `router` writes it, and nothing here reads or writes a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jobs.rollout.routes import ENTITY, PATHS, ROUTES, TYPE, Json, direct, says, shadow, with_fallback
from jobs.services.ports import LOOPBACK

MAXIMUM_BYTES = 1_048_576
BUCKETS = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1_000, 2_000, 5_000, 20_000)
"""Upper bounds in milliseconds, which is as fine as Envoy measures; the last is beyond the longest time-out."""
_MANY = 4_096
_SHADOWED = 256
_STABLE_RETRIES = {"budget_percent": {"value": 20.0}, "min_retry_concurrency": 16}
"""The stable slot has nobody behind it: what it fails to answer is asked again only while that is the exception."""
_FALLBACK_RETRIES = {"budget_percent": {"value": 100.0}, "min_retry_concurrency": 512}
"""A dead candidate has all its requests asked again, of the stable slot, and never more than there are."""


def bootstrap(
    *,
    address: str,
    port: int,
    ready_port: int,
    admin_socket: Path,
    routes: Path,
    slots: Mapping[str, Mapping[str, tuple[str, int]]],
    entities: Mapping[str, str],
    shown: bool = False,
) -> Json:
    """The static configuration: a listener, the slots of every project, and routes from a watched file.

    `address` is what the listeners bind, and `slots` has the host and port of each.
    `entities` names for each project the field of a request that says who is asked about.
    With `shown`, what the router counts can be read over TCP, by whoever rolls out from another machine.
    """
    clusters = [_cluster("admin", {"pipe": {"path": str(admin_socket)}})]
    for project, own in slots.items():
        for slot, at in own.items():
            others = [other for other in own if other != slot]
            clusters.append(_shadow(project, slot, *at))
            for suffix in PATHS.values():
                clusters.append(_slot(direct(project, slot) + suffix, *at))
                clusters += [_aggregate(project, slot, other, suffix) for other in others]
    watched = {"path": str(routes), "watched_directory": {"path": str(routes.parent)}}
    source = {"path_config_source": watched, "resource_api_version": "V3"}
    return {
        "node": {"id": "tidemill", "cluster": "tidemill"},
        # The admin interface can stop the router, and asks for no key: over TCP there is none of it but what only tells.
        "admin": {"address": {"pipe": {"path": str(admin_socket), "mode": 0o600}}},
        "static_resources": {
            "listeners": [
                _listener(
                    "router", _socket(address, port),
                    {"rds": {"route_config_name": ROUTES, "config_source": source}}, entities,
                ),
                _listener("ready", _socket(address, ready_port), {"route_config": _ready(shown)}),
            ],
            "clusters": clusters,
        },
        # Histograms are merged this often; merging them when asked would answer with those of the time before.
        "stats_flush_interval": "0.5s",
        "stats_config": {"histogram_bucket_settings": [{"match": {"prefix": "cluster."}, "buckets": list(BUCKETS)}]},
    }  # fmt: skip


_DERIVE = """
function envoy_on_request(handle)
  if handle:headers():get("%(header)s") ~= nil then return end
  local body = handle:body()
  if body == nil then return end
  local text = body:getBytes(0, math.min(body:length(), 4096))
  local entity = string.match(text, '"%(field)s"%%s*:%%s*"([^"\\\\%%c]*)"')
  if entity ~= nil then handle:headers():replace("%(header)s", string.sub(entity, 1, 200)) end
end
"""
"""A client that does not say whom it asks about has it read from its body: the first row's, within 4 kB."""


def _listener(name: str, address: Json, routes: Json, entities: Mapping[str, str] | None = None) -> Json:
    buffer = {
        "name": "envoy.filters.http.buffer",
        "typed_config": {"@type": f"{TYPE}.extensions.filters.http.buffer.v3.Buffer", "max_request_bytes": MAXIMUM_BYTES},
    }  # fmt: skip
    derive = {
        "name": "entity",
        "typed_config": {
            "@type": f"{TYPE}.extensions.filters.http.lua.v3.Lua",
            "source_codes": {
                project: {"inline_string": _DERIVE % {"header": ENTITY, "field": field}}
                for project, field in (entities or {}).items()
            },
        },
    }
    last = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{TYPE}.extensions.filters.http.router.v3.Router", "suppress_envoy_headers": True},
    }
    manager = {
        "@type": f"{TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "server_name": "tidemill",
        "http_filters": [buffer, derive, last] if entities is not None else [last],
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
        "normalize_path": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "request_headers_timeout": "5s",
        "request_timeout": "15s",
        "stream_idle_timeout": "30s",
        "common_http_protocol_options": {"idle_timeout": "60s", "headers_with_underscores_action": "REJECT_REQUEST"},
        "local_reply_config": {"mappers": [_as_json()]},
        **routes,
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {"name": name, "address": address, "filter_chains": [chain]}


def _slot(name: str, host: str, port: int) -> Json:
    return {
        **_cluster(name, _socket(host, port)),
        "health_checks": [
            {
                "timeout": "1s",
                "interval": "1s",
                "no_traffic_interval": "1s",
                "unhealthy_interval": "0.5s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "http_health_check": {"path": "/readyz", "host": name},
            }
        ],
        # A slot that keeps failing is left alone for a while; one that fails now and then is the verdict's business.
        "outlier_detection": {
            "consecutive_5xx": 20,
            "consecutive_gateway_failure": 10,
            "enforcing_consecutive_gateway_failure": 100,
            "enforcing_success_rate": 0,
            "interval": "1s",
            "base_ejection_time": "3s",
            "max_ejection_percent": 100,
        },
    }


def _cluster(name: str, address: Json) -> Json:
    http = {
        "@type": f"{TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http_protocol_options": {}},
        # Shorter than the slots keep a connection: they never close one that is about to be used.
        "common_http_protocol_options": {"idle_timeout": "30s"},
    }
    endpoint = {"lb_endpoints": [{"endpoint": {"address": address}}]}
    named = "socket_address" in address and address["socket_address"]["address"] != LOOPBACK
    return {
        "name": name,
        "type": "STRICT_DNS" if named else "STATIC",
        "dns_lookup_family": "V4_PREFERRED",
        "connect_timeout": "0.25s",
        "load_assignment": {"cluster_name": name, "endpoints": [endpoint]},
        "circuit_breakers": _limits(_STABLE_RETRIES),
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http},
    }


def _aggregate(project: str, slot: str, other: str, suffix: str) -> Json:
    members = [direct(project, slot) + suffix, direct(project, other) + suffix]
    return {
        "name": with_fallback(project, slot, other) + suffix,
        "connect_timeout": "0.25s",
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {
            "name": "envoy.clusters.aggregate",
            "typed_config": {
                "@type": f"{TYPE}.extensions.clusters.aggregate.v3.ClusterConfig",
                "clusters": members,
            },
        },
        # Its own: with the default of 3 retries at a time, a candidate killed under load fails hundreds of requests.
        "circuit_breakers": _limits(_FALLBACK_RETRIES),
    }


def _shadow(project: str, slot: str, host: str, port: int) -> Json:
    """Mirrored requests beyond a few at a time are dropped: a slow candidate must not cost its clients anything."""
    cluster = _cluster(shadow(project, slot), _socket(host, port))
    few = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), _SHADOWED)
    return cluster | {"circuit_breakers": {"thresholds": [{"priority": "DEFAULT", **few}]}}


def _limits(retries: Json) -> Json:
    limits: Json = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), _MANY)
    return {"thresholds": [{"priority": "DEFAULT", **limits, "retry_budget": retries}]}


def _ready(shown: bool) -> Json:
    paths = ["/ready", *(("/stats", "/clusters") if shown else ())]
    reading = {"name": ":method", "string_match": {"exact": "GET"}}
    told = [
        {"match": {"path": path, "headers": [reading]}, "route": {"cluster": "admin", "timeout": "2s"}}
        for path in paths
    ]
    other = {"match": {"prefix": "/"}, **says(403, f"only {', '.join(paths)} is shown here")}
    return {"name": "ready", "virtual_hosts": [{"name": "ready", "domains": ["*"], "routes": [*told, other]}]}


def _as_json() -> Json:
    """The router's own refusals look like the slots': a JSON object with `error`."""
    failed = {"op": "GE", "value": {"default_value": 400, "runtime_key": "tidemill.own_replies"}}
    body = {"json_format": {"error": "%LOCAL_REPLY_BODY%"}}
    return {"filter": {"status_code_filter": {"comparison": failed}}, "body_format_override": body}


def _socket(address: str, port: int) -> Json:
    return {"socket_address": {"address": address, "port_value": port}}
