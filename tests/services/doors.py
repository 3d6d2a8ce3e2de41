"""Every way into the services of an installation: what is asked at each port, and what may answer without credentials."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from typing import Any

HEALTH = {
    "airflow": {"/api/v2/monitor/health", "/api/v2/version", "/execution/health", "/execution/health/ping"},
    "mlflow": {"/health", "/server-info", "/api/3.0/mlflow/server-info", "/ajax-api/3.0/mlflow/server-info"},
    "router": {"/livez"},
    "router-admin": {"/ready"},
    "slot": {"/livez", "/readyz"},
}
"""What says no more than that a service is there, and which parts of it are on."""
PAGES = {"airflow": {"/docs", "/redoc", "/openapi.json", "/execution/docs", "/execution/openapi.json"}}
"""What Airflow says of its own API, which is the same everywhere; and see `shell`."""
_KNOWN = {
    "airflow": ["/", "/openapi.json", "/docs", "/redoc", "/api/v2/dags", "/ui/config", "/auth/menus", "/metrics",
                "/execution/docs", "/execution/openapi.json", "/execution/variables/x", "/execution/connections/x"],
    "mlflow": ["/", "/metrics", "/graphql", "/v1/traces", "/get-artifact?path=x&run_uuid=x", "/server-info", "/gateway/mlflow/v1/models",
               "/ajax-api/3.0/mlflow/assistant/config", "/ajax-api/3.0/mlflow/assistant/providers", "/api/3.0/mlflow/server-info",
               "/model-versions/get-artifact?path=x&name=x&version=1", "/ajax-api/3.0/jobs/", "/api/3.0/jobs/x",
               "/api/2.0/mlflow/users/get?username=admin", "/api/2.0/mlflow-artifacts/artifacts", "/docs", "/openapi.json"],
    "router": ["/", "/metrics", "/livez", "/readyz", "/fraud/predict", "/fraud/explain", "/docs.json", "/fraud/metrics"],
    "router-admin": ["/", "/stats", "/stats/prometheus", "/clusters", "/config_dump", "/runtime", "/runtime_modify",
                     "/quitquitquit", "/logging", "/certs", "/memory", "/ready", "/server_info", "/drain_listeners"],
    "slot": ["/", "/metrics", "/livez", "/readyz", "/fraud/predict", "/fraud/explain", "/docs.json", "/schema.json"],
}  # fmt: skip


def kind(name: str) -> str:
    """Which of these a program of that name is."""
    return "slot" if name.startswith("serve-") else name


def shell(number: int, path: str) -> bool:
    """Whether a port answers a path with the page it has for every path it does not know, as Airflow does: an empty one,
    and below /auth its log-in."""
    unknown = "/auth/no-such-page" if path.startswith("/auth/") else "/no-such-page"
    return body(number, path) == body(number, unknown)


def body(number: int, path: str) -> bytes:
    """What a port answers, whoever asks."""
    with closing(HTTPConnection("127.0.0.1", number, timeout=30)) as connection:
        connection.request("GET", path)
        return connection.getresponse().read()


def status(number: int, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> int:
    """What a port of loopback answers; 0 when it does not speak HTTP, or is asked what no HTTP request may be."""
    try:
        with closing(HTTPConnection("127.0.0.1", number, timeout=30)) as connection:
            connection.request(method, path, headers=dict(headers or {}), body=b"{}" if method == "POST" else None)
            return connection.getresponse().status
    except (OSError, HTTPException):
        return 0


def document(number: int, path: str) -> Any:
    """The JSON that a port answers with, whoever asks; None for anything else."""
    return json.loads(body(number, path)) if status(number, path) == 200 else None


def ways(name: str, number: int) -> Iterator[tuple[str, str]]:
    """Method and path of everything that is asked of a service: what its own list of routes has, and more."""
    for path in _KNOWN[kind(name)]:
        yield "GET", path
        yield "POST", path
    if name == "airflow":
        routes = document(number, "/openapi.json") or {"paths": {}}
        for path, methods in routes["paths"].items():
            for method in methods.keys() & {"get", "post", "patch", "delete", "put"}:
                yield method.upper(), re.sub(r"{[^}]+}", "1", path)
    if name == "mlflow":
        from mlflow.server.handlers import get_endpoints

        for path, _, methods in get_endpoints():
            yield methods[0], re.sub(r"<[^>]+>", "x", path)


def opened(name: str, number: int) -> list[str]:
    """Every way in that answered as if it did not matter who asks."""
    free = HEALTH[kind(name)] | PAGES.get(name, set())
    found = []
    for method, path in ways(name, number):
        code = status(number, path, method)
        if (
            200 <= code < 300
            and path not in free
            and not (name == "airflow" and method == "GET" and shell(number, path))
        ):
            found.append(f"{name} {method} {path}: {code}")
    return sorted(set(found))


def token(claims: Mapping[str, Any], secret: str, algorithm: str = "HS512") -> str:
    """A JSON web token, as whoever knows a secret, or none, would make one."""
    head = {"alg": algorithm, "typ": "JWT", "kid": "not-used"}
    signed = ".".join(_coded(json.dumps(one).encode()) for one in (head, claims))
    digest = {"HS512": hashlib.sha512, "HS256": hashlib.sha256}.get(algorithm)
    signature = _coded(hmac.new(secret.encode(), signed.encode(), digest).digest()) if digest else ""
    return f"{signed}.{signature}"


def claims_of(token: str) -> dict[str, Any]:
    """What a token says."""
    body = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


def _coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
