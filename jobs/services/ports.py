"""Which loopback port each service listens on: the base of the installation plus a fixed number."""

from __future__ import annotations

from pathlib import Path

from jobs.errors import SettingError
from jobs.projects import PROJECTS
from jobs.settings import Settings

SLOTS = ("blue", "green")
_FIXED = {"router": 0, "router-admin": 1, "airflow": 2, "mlflow": 3, "spark-connect": 4}
_FIRST_SLOT = 10
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


def url(settings: Settings, name: str) -> str:
    """The address of a service on this machine, as http://127.0.0.1:8702."""
    return f"http://127.0.0.1:{port(settings, name)}"


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
