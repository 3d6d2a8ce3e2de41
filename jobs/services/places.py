"""The folders an installation keeps beside its lake: run files, logs, and sockets, which need a short path."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from jobs.errors import SettingError
from jobs.settings import ROOT, Settings

MARKER = "TIDEMILL_SERVICE_OF"
"""Set in the environment of every process of the services, to the home they belong to."""


def environment_python(name: str) -> Path:
    """The interpreter of one of the environments below `.venv`."""
    return ROOT / ".venv" / name / "bin" / "python"


def home(settings: Settings) -> Path:
    """The home of the installation as an absolute path."""
    return settings.home.absolute()


def logs(settings: Settings) -> Path:
    """Where every service's output goes; created if absent."""
    return _folder(home(settings) / "logs", 0o700)


def run_files(settings: Settings) -> Path:
    """Generated configuration of the services, readable by their owner only; created if absent."""
    return _folder(home(settings) / "run", 0o700)


def sockets_path(settings: Settings) -> Path:
    """The private folder of the Unix sockets: short, because a socket's path may have 107 bytes."""
    if settings.sockets:
        return settings.sockets
    name = hashlib.sha256(str(home(settings)).encode()).hexdigest()[:10]
    return Path(f"/tmp/tidemill-{os.getuid()}-{name}")  # noqa: S108 - its owner and mode are checked below


def sockets(settings: Settings) -> Path:
    """That folder, created if absent; raises SettingError when somebody else made one of its name.

    Root may not run PostgreSQL, so as root the folder lets another user pass through, not look.
    """
    path = sockets_path(settings)
    mode = 0o711 if os.getuid() == 0 else 0o700
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise SettingError(f"{path} belongs to somebody else; remove it, the services' sockets go there")
    path.chmod(mode)
    return path


def supervisor_socket(settings: Settings, host: str | None = None) -> Path:
    """The socket on which the supervisor, or that of a host with slots of its own, takes commands."""
    return sockets_path(settings) / f"{host or 'supervisor'}.sock"


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner may read, replacing the old one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(path)


def _folder(path: Path, mode: int) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    return path
