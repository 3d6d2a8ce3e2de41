"""The two slots of a project: which release each is told to serve, and restarting the one that changed."""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault

from jobs import mirror
from jobs.errors import ServiceError, TamperedError, UsageError
from jobs.lake import Lake, address
from jobs.services.ports import SLOTS, url
from jobs.settings import Settings
from jobs.storage import write_atomically

_SAMPLE = re.compile(r"^(\w+)\{([^}]*)\} (\S+)$", re.MULTILINE)
_RESIDENT = re.compile(r"^tidemill_resident_bytes (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_UP = ("RUNNING", "STARTING", "BACKOFF")
BESIDE_SECONDS = 1.0
"""How often a slot that holds a release beside its own looks whether it is still told to."""
REHEARSALS = ("slow", "errors", "crash", "leak")
"""What a candidate can be asked to do wrong: bentos/rehearsal.py."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What a slot is told to serve; its process reads it when it starts."""

    project: str
    slot: str
    release: str
    digest: str
    epoch: int
    folder: str
    rehearse: str | None = None
    beside: Assignment | None = None
    """The stable release, of a candidate whose lists are interleaved with its."""


def assignment_path(settings: Settings, project: str, slot: str) -> Path:
    """The file a slot's assignment is kept in: of this machine, or of the lake where slots run elsewhere."""
    if settings.routing != "local":
        return Lake(settings.lake_uri).assignment(project, slot)
    return settings.home / "serving" / project / f"{slot}.json"


def read_assignment(path: Path) -> Assignment | None:
    """The assignment in a file, None when there is none; raises TamperedError when it does not parse."""
    found = mirror.read(path)
    try:
        told = json.loads(found) if found is not None else None
        if told is None:
            return None
        beside = told.pop("beside", None)
        return Assignment(**told, beside=Assignment(**beside) if beside else None)
    except (ValueError, TypeError, AttributeError) as error:
        raise TamperedError(
            f"{address(path)} is no assignment ({error}); start the rollout again to have it rewritten"
        ) from None


@dataclass(frozen=True, kw_only=True)
class Own:
    """What a slot's process says of itself, of one route."""

    requests: int = 0
    """What it answered, whatever the status."""
    errors: int = 0
    """Answers of 500 and above."""
    times: tuple[tuple[float, float], ...] = ()
    """Upper bounds in milliseconds and counts of answers, by the slot's own clock."""
    scores: tuple[tuple[float, float], ...] = ()
    """Upper bounds and counts of the scores it answered."""
    resident_bytes: float | None = None
    """Its memory; None while unknown."""


class Slots:
    """The slots of this machine: files that say what each serves, and the supervisor that runs them."""

    ready_seconds = 60
    """How long a restarted slot may take until it serves."""
    pause = 0.1
    """Seconds between two looks at one that is starting."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def url(self, project: str, slot: str) -> str:
        """Where the slot itself answers, past the router."""
        return url(self._settings, program(project, slot))

    def assignment(self, project: str, slot: str) -> Assignment | None:
        """What the slot is told to serve, or None."""
        return read_assignment(self._place(project, slot))

    def assign(
        self, project: str, slot: str, release: str, digest: str, epoch: int, folder: Path | str, rehearse: str | None = None,
        beside: Assignment | None = None,
    ) -> Assignment:  # fmt: skip
        """Tells the slot what to serve from its next start; raises UsageError for an unknown slot or rehearsal."""
        if slot not in SLOTS or rehearse not in (None, *REHEARSALS):
            known = ", ".join(REHEARSALS)
            raise UsageError(f"slot {slot!r} is not blue or green, or rehearsal {rehearse!r} is none of {known}")
        told = Assignment(
            project=project, slot=slot, release=release, digest=digest, epoch=epoch,
            folder=address(Path(folder).absolute()), rehearse=rehearse, beside=beside,
        )  # fmt: skip
        self._write(project, slot, _text(told))
        return told

    def clear(self, project: str, slot: str) -> None:
        """Tells the slot to serve nothing from its next start."""
        self._place(project, slot).unlink(missing_ok=True)

    def part(self, project: str, slot: str) -> None:
        """Has the slot answer by its own release alone, as it runs: in a few seconds at most, which are waited for."""
        told = self.assignment(project, slot)
        if told is None or told.beside is None:
            return
        self._write(project, slot, _text(replace(told, beside=None)))
        deadline = time.monotonic() + 3 * BESIDE_SECONDS
        while time.monotonic() < deadline and self.state(project, slot).get("beside"):
            time.sleep(self.pause)

    def restart(self, project: str, slot: str) -> None:
        """Restarts the slot's process, which drains first; give it no traffic before. Raises ServiceError."""
        from jobs.services import supervisor

        name = program(project, slot)
        try:
            processes = supervisor.rpc(self._settings, name)
            if processes.getProcessInfo(name)["statename"] in _UP:
                processes.stopProcess(name, True)
            processes.startProcess(name, False)
        except (OSError, HTTPException, Fault) as error:
            raise ServiceError(f"the supervisor did not restart {name}: {error}; see `tidemill status`") from error

    def wait_ready(self, project: str, slot: str, release: str | None, seconds: float) -> dict[str, Any]:
        """The slot's readiness once it serves that release (None: once it answers that it has none).

        Raises ServiceError at the deadline, or at once when the slot says that it refused the release.
        """
        deadline, state = time.monotonic() + seconds, dict[str, Any]()
        while time.monotonic() < deadline:
            state = self.state(project, slot)
            if state and state.get("release") == release:
                return state
            if state.get("refused") and release:
                raise ServiceError(f"slot {slot} of {project} refused {release}: {state['refused']}")
            time.sleep(self.pause)
        raise ServiceError(
            f"slot {slot} of {project} did not serve {release or 'nothing'} within {seconds:.0f} seconds "
            f"(it answers {state or 'nothing'}); see the log of {program(project, slot)}"
        )

    def own(self, project: str, slot: str, route: str) -> dict[str, Own]:
        """What each process of the slot counts of a route since it started, by its address.

        One that does not answer is not among them.
        """
        found = {at: self._counted(at, route) for at in self.addresses(project, slot)}
        return {at: own for at, own in found.items() if own is not None}

    def state(self, project: str, slot: str) -> dict[str, Any]:
        """What the slot says of itself: release, digest, epoch, refused; empty while it does not answer."""
        return self._asked(self.url(project, slot))

    def addresses(self, project: str, slot: str) -> list[str]:
        """Where each of the slot's processes answers."""
        return [self.url(project, slot)]

    def _place(self, project: str, slot: str) -> Path:
        return assignment_path(self._settings, project, slot)

    def _write(self, project: str, slot: str, data: bytes) -> None:
        write_atomically(self._place(project, slot), data)

    def _asked(self, at: str) -> dict[str, Any]:
        import httpx

        try:
            answer = httpx.get(f"{at}/readyz", timeout=2, trust_env=False).json()
        except (httpx.HTTPError, ValueError):
            return {}
        return dict(answer)

    def _counted(self, at: str, route: str) -> Own | None:
        import httpx

        key = self._settings.api_key
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        try:
            answer = httpx.get(f"{at}/metrics", headers=headers, timeout=2, trust_env=False)
            answer.raise_for_status()
        except httpx.HTTPError:
            return None
        return _own(answer.text, route)


def _text(told: Assignment) -> bytes:
    return json.dumps(asdict(told), indent=1).encode()


def program(project: str, slot: str) -> str:
    """The name of a slot's process, as its port and its host have it."""
    return f"serve-{project}-{slot}"


def _own(text: str, route: str) -> Own:
    times, scores, resident = dict[float, float](), dict[float, float](), _RESIDENT.search(text)
    answers = dict[str, float]()
    for name, labels, value in _SAMPLE.findall(text):
        known = dict(_LABEL.findall(labels))
        if known.get("route") != route:
            continue
        if name == "tidemill_request_seconds_bucket" and known["status"] == "200":
            times[float(known["le"]) * 1000] = float(value)
        elif name == "tidemill_request_seconds_count":
            answers[known["status"]] = float(value)
        elif name == "tidemill_scores_total":
            scores[float(known["up_to"])] = float(value)
    bounds = sorted(times)
    below = [0.0, *(times[bound] for bound in bounds)]
    return Own(
        requests=int(sum(answers.values())),
        errors=int(sum(number for status, number in answers.items() if status >= "500")),
        times=tuple((bound, times[bound] - before) for bound, before in zip(bounds, below, strict=False)),
        scores=tuple(sorted(scores.items())),
        resident_bytes=float(resident[1]) if resident else None,
    )
