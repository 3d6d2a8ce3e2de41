"""The supervisors that keep services running: their configuration, their start, and their commands.

On one machine there is one; where services have hosts of their own, one on each host of slots.
"""

from __future__ import annotations

import os
import subprocess
import time
import xmlrpc.client
from collections.abc import Iterable
from contextlib import suppress
from http.client import HTTPException
from typing import Any

from jobs.errors import ServiceError
from jobs.services import places
from jobs.services.ports import SERVING, host
from jobs.services.programs import Program, slots
from jobs.settings import Settings

_UNREACHABLE = (OSError, HTTPException)


def rpc(settings: Settings, name: str | None = None) -> Any:
    """The XML-RPC interface of the supervisor, or of the one that keeps that slot, over its private socket."""
    from supervisor.xmlrpc import SupervisorTransport

    own = host(settings, name) if name and settings.hosts == "named" else None
    transport = SupervisorTransport(None, None, f"unix://{places.supervisor_socket(settings, own)}")
    return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor


def states(settings: Settings, name: str | None = None) -> dict[str, str] | None:
    """Each program's state, such as RUNNING or FATAL, by one supervisor or all; None when none answers."""
    found: dict[str, str] | None = None
    for one in [name] if name or settings.hosts == "loopback" else SERVING:
        with suppress(*_UNREACHABLE):
            told = rpc(settings, one).getAllProcessInfo()
            found = (found or {}) | {info["name"]: info["statename"] for info in told}
    return found


def in_use(settings: Settings) -> dict[str, str] | None:
    """As `states`, without the slots that wait for their first release."""
    found = states(settings)
    if found is None:
        return None
    unused = {one.name for one in slots(settings) if one.idle}
    return {name: state for name, state in found.items() if name not in unused or state != "STOPPED"}


def start(settings: Settings, programs: Iterable[Program]) -> None:
    """Starts the supervisor with nothing running, or gives a running one the present configuration.

    Of a running one's programs only those whose configuration changed are stopped.
    """
    file = places.run_files(settings) / "supervisord.conf"
    places.write_private(file, configuration(settings, programs))
    if states(settings) is not None:
        _reload(settings)
        return
    places.sockets(settings)
    command = [str(places.environment_python("jobs").with_name("supervisord")), "-c", str(file)]
    started = subprocess.run(
        command, env=environment(settings), cwd="/", capture_output=True, text=True, check=False, timeout=60,
        start_new_session=True,
    )  # fmt: skip
    if started.returncode:
        raise ServiceError(f"the supervisor did not start: {(started.stderr or started.stdout).strip()[-500:]}")
    deadline = time.monotonic() + 15
    while states(settings) is None:
        if time.monotonic() > deadline:
            raise ServiceError(f"the supervisor does not answer; see {places.logs(settings) / 'supervisord.log'}")
        time.sleep(0.1)


def environment(settings: Settings) -> dict[str, str]:
    """What every service inherits: little, the marker it is found by, and the settings made in this shell."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "USER", "LOGNAME")}
    kept |= {name: value for name, value in os.environ.items() if name.startswith(("TIDEMILL_", "AWS_"))}
    home = str(places.home(settings))
    return kept | {"LANG": "C.UTF-8", "TZ": "UTC", "TIDEMILL_HOME": home, places.MARKER: home}


def configuration(settings: Settings, programs: Iterable[Program], own: str | None = None) -> str:
    """The text of supervisord.conf; with a host of its own, of a supervisor that starts what is not idle by itself.

    A container's log is what its processes write, so there nothing goes to a file.
    """
    run, logs = places.run_files(settings), places.logs(settings)
    sections = [
        "[unix_http_server]",
        f"file={places.supervisor_socket(settings, own)}",
        "chmod=0700",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
        "[supervisord]",
        f"logfile={'/dev/null' if own else logs / 'supervisord.log'}",
        f"logfile_maxbytes={'0' if own else '50MB'}",
        f"pidfile={run / (own or 'supervisord')}.pid",
        f"childlogdir={logs}",
        "umask=077",
        *(["user=root"] if os.getuid() == 0 else []),
    ]
    for program in programs:
        sections += [
            f"[program:{program.name}]",
            f"command={' '.join(map(_quoted, program.command))}",
            f"directory={program.folder}",
            f"autostart={'true' if own and not program.idle else 'false'}",
            "autorestart=true",
            "startsecs=1",
            "startretries=8",
            f"stopsignal={program.stop_signal}",
            "stopwaitsecs=10",
            # PostgreSQL's own children stop with it, and a signal to all of them would be a crash.
            f"stopasgroup={'false' if program.stop_signal == 'INT' else 'true'}",
            "killasgroup=true",
            "redirect_stderr=true",
            f"stdout_logfile={'/dev/fd/1' if own else f'{logs / program.name}.log'}",
            f"stdout_logfile_maxbytes={'0' if own else '10MB'}",
            "stdout_logfile_backups=2",
            *([f"user={program.user}"] if program.user else []),
        ]
        if program.environment:
            pairs = ",".join(f"{name}={_quoted(value)}" for name, value in program.environment.items())
            sections.append(f"environment={pairs}")
    return "\n".join(sections).replace("\n[", "\n\n[") + "\n"


def _reload(settings: Settings) -> None:
    supervisor = rpc(settings)
    ((added, changed, removed),) = supervisor.reloadConfig()
    for name in [*changed, *removed]:
        supervisor.stopProcessGroup(name)
        supervisor.removeProcessGroup(name)
    for name in [*added, *changed]:
        supervisor.addProcessGroup(name)


def _quoted(text: str) -> str:
    """A value as supervisord.conf wants it: `%` begins an expansion there."""
    return '"' + text.replace("%", "%%") + '"'
