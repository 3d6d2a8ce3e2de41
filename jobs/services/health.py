"""Whether a service answers, not just runs."""

from __future__ import annotations

import json
import socket
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException

from jobs.services import postgres
from jobs.services.ports import port
from jobs.settings import Settings

_AIRFLOW = {
    "airflow-api-server": "metadatabase",
    "airflow-scheduler": "scheduler",
    "airflow-dag-processor": "dag_processor",
    "airflow-triggerer": "triggerer",
}


def ready(settings: Settings, name: str) -> bool:
    """Whether the service of that program name answers its health check now."""
    if name == "postgres":
        return postgres.ready(settings)
    if name in _AIRFLOW:
        body = get(port(settings, "airflow"), "/api/v2/monitor/health")
        return _healthy(body, _AIRFLOW[name])
    if name == "mlflow":
        return get(port(settings, "mlflow"), "/health") is not None
    if name == "router":
        return get(port(settings, "router-admin"), "/ready") is not None
    if name.startswith("serve-"):
        return get(port(settings, name), "/livez") is not None
    return accepts(port(settings, name))


def get(number: int, path: str, seconds: float = 10.0) -> bytes | None:
    """The body that a port of this machine answers with, when it answers 200 within that time.

    A closed port says so at once; a service that answers late is busy, not down.
    """
    with suppress(OSError, HTTPException), closing(HTTPConnection("127.0.0.1", number, timeout=seconds)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        return body if response.status == 200 else None
    return None


def accepts(number: int) -> bool:
    """Whether something accepts connections on a port of this machine."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", number), timeout=1):
        return True
    return False


def _healthy(body: bytes | None, part: str) -> bool:
    if body is None:
        return False
    with suppress(ValueError):
        return bool((json.loads(body).get(part) or {}).get("status") == "healthy")
    return False
