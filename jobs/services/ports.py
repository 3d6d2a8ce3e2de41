"""Where each service listens: the port is the base of the installation plus a fixed number, the host a setting."""

from __future__ import annotations

from pathlib import Path

from jobs.errors import SettingError
from jobs.projects import PROJECTS
from jobs.settings import Settings

SLOTS = ("blue", "green")
_FIXED = {"router": 0, "router-admin": 1, "airflow": 2, "mlflow": 3, "spark-connect": 4}
_FIRST_SLOT = 10
LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"  # noqa: S104 - within a container, which publishes what it is told to
SERVING = tuple(f"serve-{slot}" for slot in SLOTS)
"""The hosts of the slots, each with that slot of every project, where services have hosts of their own."""
_HOSTS = {"router-admin": "router", "airflow": "airflow-api-server"}
_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")


def offsets() -> dict[str, int]:
    """Every service that listens on a port, by the name its program has, and its distance from the base."""
    slots = {
        f"serve-{project}-{slot}": _FIRST_SLOT + 2 * index + number
        for index, project in enumerate(PROJECTS)
        for number, slot in enumerate(SLOTS)
    }
    return _FIXED | slots


def port(settings: Settings, name: str) -> int:
    """The port of a service, such as `airflow` or `serve-fraud-blue`; raises SettingError for any other name."""
    known = offsets()
    if name not in known:
        raise SettingError(f"no service {name!r} has a port; there are: {', '.join(known)}")
    return settings.port_base + known[name]


def host(settings: Settings, name: str) -> str:
    """Where a service is reached: 127.0.0.1, or the host that has its name, such as `mlflow` or `serve-blue`.

    In a namespace it is `mlflow.<namespace>`, and each slot has a host to itself: `serve-fraud-blue.<namespace>`.
    """
    if settings.hosts == "loopback":
        return LOOPBACK
    if settings.namespace:
        return f"{service(name)}.{settings.namespace}"
    return host_of_slot(name) if name.startswith("serve-") else _HOSTS.get(name, name)


def service(name: str) -> str:
    """What ECS and Cloud Map call a service: a name of DNS, which knows no underscore.

    >>> service("serve-be_ta-blue"), service("router-admin")
    ('serve-be-ta-blue', 'router')
    """
    return _HOSTS.get(name, name).replace("_", "-")


def host_of_slot(name: str) -> str:
    """The host of a slot where services have hosts of their own: `serve-blue` of `serve-fraud-blue`."""
    return f"serve-{name.rpartition('-')[2]}"


def listen(settings: Settings) -> str:
    """The address that services bind: loopback, or every one of the host that each has to itself."""
    return LOOPBACK if settings.hosts == "loopback" else EVERYWHERE


def url(settings: Settings, name: str) -> str:
    """The address of a service, as http://127.0.0.1:8702."""
    return f"http://{host(settings, name)}:{port(settings, name)}"


def outgoing(settings: Settings) -> str:
    """A sentence if the kernel gives some of our ports to outgoing connections, else an empty one.

    A slot that starts while such a connection holds its port does not come up.
    """
    ours = {port(settings, name) for name in offsets()}
    first, last = map(int, _OUTGOING.read_text().split()) if _OUTGOING.exists() else (0, 0)
    if ours.isdisjoint(range(first, last + 1)):
        return ""
    return (
        f"ports {min(ours)} to {max(ours)} reach into {first} to {last}, which this machine gives to outgoing "
        f"connections; one of them may hold a slot's port when it starts"
    )
