"""Whether a service answers, not just runs: `python -m jobs.services.health [NAME]` exits 0 if it does.

Without a name it is asked of the service that this container is for (TIDEMILL_SERVICE).
"""

from __future__ import annotations

import json
import socket
import sys
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException

from jobs.errors import TidemillError
from jobs.services import postgres
from jobs.services.ports import LOOPBACK, SERVING, host, port, service
from jobs.settings import Settings

_AIRFLOW = {
    "airflow-api-server": "metadatabase",
    "airflow-scheduler": "scheduler",
    "airflow-dag-processor": "dag_processor",
    "airflow-triggerer": "triggerer",
}
_ASKED = {"mlflow": ("mlflow", "/health"), "router": ("router-admin", "/ready")}


def ready(settings: Settings, name: str) -> bool:
    """Whether the service of that program name answers its health check now."""
    if name == "postgres":
        return postgres.ready(settings)
    if name in _AIRFLOW:
        body = get(port(settings, "airflow"), "/api/v2/monitor/health", at=_at(settings, "airflow"))
        return _healthy(body, _AIRFLOW[name])
    if name in SERVING:
        return _slots_ready(settings, name)
    asked, path = (name, "/livez") if name.startswith("serve-") else _ASKED.get(name, (name, ""))
    if path:
        return get(port(settings, asked), path, at=_at(settings, asked)) is not None
    return accepts(port(settings, name), _at(settings, name))


def _at(settings: Settings, name: str) -> str:
    """Where the service is; a container that is asked about its own has it at hand, whatever it is called there."""
    found = host(settings, name)
    own = service(settings.service) if settings.service else None
    return LOOPBACK if found.partition(".")[0] == own else found


def _slots_ready(settings: Settings, name: str) -> bool:
    """Whether the supervisor of a host of slots answers, and every slot there that has something to serve."""
    from jobs.services import supervisor
    from jobs.services.programs import slots_of

    if supervisor.states(settings, name) is None:
        return False
    return all(ready(settings, one.name) for one in slots_of(settings, name) if not one.idle)


def get(number: int, path: str, seconds: float = 10.0, at: str = LOOPBACK) -> bytes | None:
    """The body that a port answers with, by default one of this machine, when it answers 200 within that time.

    A closed port says so at once; a service that answers late is busy, not down.
    """
    with suppress(OSError, HTTPException), closing(HTTPConnection(at, number, timeout=seconds)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        return body if response.status == 200 else None
    return None


def accepts(number: int, at: str = LOOPBACK) -> bool:
    """Whether something accepts connections on a port, by default one of this machine."""
    with suppress(OSError), socket.create_connection((at, number), timeout=1):
        return True
    return False


def _healthy(body: bytes | None, part: str) -> bool:
    if body is None:
        return False
    with suppress(ValueError):
        return bool((json.loads(body).get(part) or {}).get("status") == "healthy")
    return False


def main(arguments: list[str]) -> int:
    """The exit code of a health check: 0 when the service answers, 1 when it does not."""
    try:
        settings = Settings.load()
        name = arguments[0] if arguments else settings.need("service")
        if ready(settings, name):
            return 0
        print(f"{name} does not answer", file=sys.stderr)
    except TidemillError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
