"""The supervisor that keeps the services running: its configuration, its start, and its commands."""

from __future__ import annotations

import os
import subprocess
import time
import xmlrpc.client
from collections.abc import Iterable
from http.client import HTTPException
from typing import Any

from jobs.errors import ServiceError
from jobs.services import places
from jobs.services.programs import Program, slots
from jobs.settings import Settings

_UNREACHABLE = (OSError, HTTPException)


def rpc(settings: Settings) -> Any:
    """The supervisor's XML-RPC interface, over its private socket."""
    from supervisor.xmlrpc import SupervisorTransport

    transport = SupervisorTransport(None, None, f"unix://{places.supervisor_socket(settings)}")
    return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor


def states(settings: Settings) -> dict[str, str] | None:
    """Each program's state, such as RUNNING or FATAL; None when no supervisor answers."""
    try:
        return {info["name"]: info["statename"] for info in rpc(settings).getAllProcessInfo()}
    except _UNREACHABLE:
        return None


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


def configuration(settings: Settings, programs: Iterable[Program]) -> str:
    """The text of supervisord.conf."""
    run, logs = places.run_files(settings), places.logs(settings)
    sections = [
        "[unix_http_server]",
        f"file={places.supervisor_socket(settings)}",
        "chmod=0700",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
        "[supervisord]",
        f"logfile={logs / 'supervisord.log'}",
        f"pidfile={run / 'supervisord.pid'}",
        f"childlogdir={logs}",
        "umask=077",
        *(["user=root"] if os.getuid() == 0 else []),
    ]
    for program in programs:
        sections += [
            f"[program:{program.name}]",
            f"command={' '.join(map(_quoted, program.command))}",
            f"directory={program.folder}",
            "autostart=false",
            "autorestart=true",
            "startsecs=1",
            "startretries=8",
            f"stopsignal={program.stop_signal}",
            "stopwaitsecs=10",
            # PostgreSQL's own children stop with it, and a signal to all of them would be a crash.
            f"stopasgroup={'false' if program.stop_signal == 'INT' else 'true'}",
            "killasgroup=true",
            "redirect_stderr=true",
            f"stdout_logfile={logs / program.name}.log",
            "stdout_logfile_maxbytes=10MB",
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
