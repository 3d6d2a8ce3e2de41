"""`tidemill up` and `tidemill down`: every service of this machine, started and stopped as one."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from xmlrpc.client import Fault

from jobs.errors import ServiceError, SettingError, UsageError
from jobs.result import Result
from jobs.services import airflow, credentials, databases, places, postgres, processes, supervisor
from jobs.services.ports import offsets, outgoing, port
from jobs.services.programs import AIRFLOW, HOSTED, Program, programs
from jobs.services.progress import Board
from jobs.settings import Settings

PATIENCE_SECONDS = 420.0


def up() -> Result:
    """Starts what does not run yet, waits until every service answers, and says how long each took.

    A slot without a release is left to the rollout that gives it one. Where services have hosts of their own,
    these are started by whoever runs the hosts, and are only waited for.

    Raises SettingError when an environment is missing or a port is taken, and ServiceError with the end
    of its log for a service that does not come up; the others keep running.
    """
    began = time.monotonic()
    settings = Settings.load()
    if settings.hosts == "named":
        return _up(settings, _await_hosts(settings), began, set())
    _check_environments()
    with _locked(settings):
        if supervisor.states(settings) is None:
            processes.end(settings)  # what a killed supervisor left behind
        credentials.write_settings(settings)
        settings = Settings.load()
        wanted = programs(settings)
        running = _running(settings)
        _check_ports(settings, [program for program in wanted if program.name not in running])
        if settings.postgres_url is None:
            postgres.prepare(settings)
        supervisor.start(settings, wanted)
        running &= _running(settings)  # those whose configuration changed were stopped
        needed = [program for program in wanted if not program.idle]
        seconds = _bring_up(settings, needed)
    return _up(settings, seconds, began, running)


def _up(settings: Settings, seconds: dict[str, float], began: float, running: set[str]) -> Result:
    taken = round(time.monotonic() - began, 1)
    started = [name for name in seconds if name not in running]
    told = f"\nnote: {note}; TIDEMILL_PORT_BASE=8700 is the default" if (note := outgoing(settings)) else ""
    return Result(
        line=f"{len(seconds)} services are up after {taken} s ({len(started)} started); "
        f"addresses and log-ins: {places.home(settings) / 'settings.env'}{told}",
        facts={
            "seconds": taken,
            "started": started,
            "services": {name: {"seconds": value} for name, value in seconds.items()},
            "settings": str(places.home(settings) / "settings.env"),
        },
    )


def down() -> Result:
    """Stops every service and ends whatever process of theirs is left; raises ServiceError if one survives."""
    began = time.monotonic()
    settings = Settings.load()
    if settings.hosts == "named":
        raise UsageError("the services here are containers; stop them where they were started: docker compose down")
    if not settings.home.exists():
        return Result(
            line="nothing runs: there is no installation here", facts={"stopped": 0, "ended": 0, "seconds": 0}
        )
    with _locked(settings):
        stopped = _stop_supervised(settings)
        ended = processes.end(settings)
        survivors = [process.pid for process in processes.ours(settings)]
        taken_ports = {} if survivors else processes.holders(_our_ports(settings))
        if not survivors:
            shutil.rmtree(places.sockets_path(settings), ignore_errors=True)
    if survivors:
        raise ServiceError(
            f"these processes would not end: {survivors}; they belong to another user or hang in the kernel"
        )
    left = f"; not ours and left alone: {_ports_text(taken_ports)}" if taken_ports else ""
    seconds = round(time.monotonic() - began, 1)
    return Result(
        line=f"stopped {stopped} services and {ended} stray processes in {seconds} s; none is left{left}",
        facts={"stopped": stopped, "ended": ended, "seconds": seconds, "ports_of_others": sorted(taken_ports)},
    )


def _await_hosts(settings: Settings) -> dict[str, float]:
    with Board(HOSTED, settings) as board:
        board.wait(HOSTED, until=PATIENCE_SECONDS)
        return board.seconds


def _bring_up(settings: Settings, wanted: list[Program]) -> dict[str, float]:
    with Board([program.name for program in wanted], settings) as board, ThreadPoolExecutor(max_workers=2) as pool:
        if settings.postgres_url is None:
            _start(settings, ["postgres"])
            board.wait(["postgres"], until=PATIENCE_SECONDS)
            postgres.make_databases(settings)
        else:
            databases.make_own(settings)
        migration = pool.submit(migrate_airflow, settings)
        _start(settings, [program.name for program in wanted if program.name not in (*AIRFLOW, "postgres")])
        _after(migration, lambda: _start(settings, AIRFLOW))
        board.wait([program.name for program in wanted], until=PATIENCE_SECONDS)
        return board.seconds


def _after(migration: Future[None], then: Callable[[], None]) -> None:
    migration.result()
    then()


def _start(settings: Settings, names: Iterable[str]) -> None:
    rpc, states = supervisor.rpc(settings), supervisor.states(settings) or {}
    for name in names:
        if states.get(name) in ("STOPPED", "EXITED", "FATAL", "UNKNOWN"):
            try:
                rpc.startProcess(name, False)
            except Fault as fault:
                raise ServiceError(f"{name} did not start: {fault.faultString}") from None


def migrate_airflow(settings: Settings) -> None:
    """Brings Airflow's tables to the installed version and its pools to the declared ones, once."""
    pools = airflow.pools_file(settings)
    version = f"{_airflow_version()}\n{pools.read_text()}"
    stamp = places.run_files(settings) / "airflow-migrated"
    if stamp.exists() and stamp.read_text() == version and postgres.has_table(settings, "airflow", "alembic_version"):
        return
    log = places.logs(settings) / "airflow-migrate.log"
    command = str(places.environment_python("orchestrate").with_name("airflow"))
    environment = supervisor.environment(settings) | airflow.environment(settings)
    with log.open("w") as file:
        for arguments in (("db", "migrate"), ("pools", "import", str(pools))):
            made = subprocess.run(
                [command, *arguments], env=environment, cwd=places.run_files(settings), stdout=file,
                stderr=subprocess.STDOUT, check=False, start_new_session=True,
            )  # fmt: skip
            if made.returncode:
                raise ServiceError(f"Airflow's tables were not made; see {log}")
    stamp.write_text(version)


def _airflow_version() -> str:
    library = places.environment_python("orchestrate").parents[1] / "lib"
    found = [
        one.version
        for one in metadata.distributions(path=[str(p) for p in library.glob("python*/site-packages")])
        if one.name == "apache-airflow-core"
    ]
    return found[0] if found else "none"


def _stop_supervised(settings: Settings) -> int:
    """Stops the supervised programs, the database last, and their supervisor; returns how many ran."""
    states = supervisor.states(settings)
    if states is None:
        return 0
    rpc = supervisor.rpc(settings)
    running = [name for name, state in states.items() if state in ("RUNNING", "STARTING", "BACKOFF")]
    for wave in ([name for name in running if name != "postgres"], [name for name in running if name == "postgres"]):
        for name in wave:
            try:
                rpc.stopProcess(name, False)
            except Fault:
                continue  # it ended by itself in the meantime
        _wait_until(lambda wave=wave: not _moving(settings, wave), 25)  # type: ignore[misc]
    pid = rpc.getPID()
    rpc.shutdown()
    _wait_until(lambda: not Path(f"/proc/{pid}").exists(), 15)
    return len(running)


def _running(settings: Settings) -> set[str]:
    return {name for name, state in (supervisor.states(settings) or {}).items() if state == "RUNNING"}


def _moving(settings: Settings, names: list[str]) -> bool:
    states = supervisor.states(settings) or {}
    return any(states.get(name) in ("RUNNING", "STARTING", "STOPPING", "BACKOFF") for name in names)


def _wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)


def _our_ports(settings: Settings) -> list[int]:
    return [port(settings, name) for name in offsets()]


def _check_ports(settings: Settings, about_to_start: Iterable[Program]) -> None:
    needed = {program.port: program.name for program in about_to_start if program.port is not None}
    if "router" in needed.values():
        needed[port(settings, "router-admin")] = "router-admin"
    taken = processes.holders(needed)
    if taken:
        wanted = ", ".join(f"{needed[number]} needs {number}" for number in sorted(taken))
        raise SettingError(
            f"{_ports_text(taken)} is in the way: {wanted}; nothing was started. End it, or choose other ports "
            f"for all services: TIDEMILL_PORT_BASE={settings.port_base + 100} tidemill up"
        )


def _ports_text(taken: dict[int, str]) -> str:
    return ", ".join(f"port {number} held by {holder}" for number, holder in sorted(taken.items()))


def _check_environments() -> None:
    missing = [name for name in ("jobs", "serve", "orchestrate") if not places.environment_python(name).exists()]
    if missing:
        raise SettingError(f"no environment {', '.join(missing)} below .venv; run `make environments`")


@contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """One `up` or `down` at a time: a second one waits for the first."""
    file: Path = places.run_files(settings) / "control.lock"
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
