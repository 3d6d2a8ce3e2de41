"""The two slots of a project: which release each is told to serve, and restarting the one that changed."""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault

from jobs.errors import ServiceError, TamperedError, UsageError
from jobs.lake import address
from jobs.services.ports import SLOTS, url
from jobs.settings import Settings
from jobs.storage import write_atomically

_PAUSE = 0.1
_SAMPLE = re.compile(r"^(\w+)\{([^}]*)\} (\S+)$", re.MULTILINE)
_RESIDENT = re.compile(r"^tidemill_resident_bytes (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_UP = ("RUNNING", "STARTING", "BACKOFF")
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


def assignment_path(settings: Settings, project: str, slot: str) -> Path:
    """The file a slot's assignment is kept in."""
    return settings.home / "serving" / project / f"{slot}.json"


def read_assignment(path: Path) -> Assignment | None:
    """The assignment in a file, None when there is none; raises TamperedError when it does not parse."""
    try:
        return Assignment(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise TamperedError(
            f"{path} is no assignment ({error}); start the rollout again to have it rewritten"
        ) from None


@dataclass(frozen=True, kw_only=True)
class Own:
    """What a slot's process says of itself."""

    times: tuple[tuple[float, float], ...] = ()
    """Upper bounds in milliseconds and counts of answers, by the slot's own clock."""
    scores: tuple[tuple[float, float], ...] = ()
    """Upper bounds and counts of the scores it answered."""
    resident_bytes: float | None = None
    """Its memory; None while unknown."""


class Slots:
    """The slots of this machine: files that say what each serves, and the supervisor that runs them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def url(self, project: str, slot: str) -> str:
        """Where the slot itself answers, past the router."""
        return url(self._settings, _program(project, slot))

    def assignment(self, project: str, slot: str) -> Assignment | None:
        """What the slot is told to serve, or None."""
        return read_assignment(assignment_path(self._settings, project, slot))

    def assign(
        self, project: str, slot: str, release: str, digest: str, epoch: int, folder: Path | str, rehearse: str | None = None
    ) -> Assignment:  # fmt: skip
        """Tells the slot what to serve from its next start; raises UsageError for an unknown slot or rehearsal."""
        if slot not in SLOTS or rehearse not in (None, *REHEARSALS):
            known = ", ".join(REHEARSALS)
            raise UsageError(f"slot {slot!r} is not blue or green, or rehearsal {rehearse!r} is none of {known}")
        told = Assignment(
            project=project, slot=slot, release=release, digest=digest, epoch=epoch,
            folder=address(Path(folder).absolute()), rehearse=rehearse,
        )  # fmt: skip
        write_atomically(assignment_path(self._settings, project, slot), json.dumps(asdict(told), indent=1).encode())
        return told

    def clear(self, project: str, slot: str) -> None:
        """Tells the slot to serve nothing from its next start."""
        assignment_path(self._settings, project, slot).unlink(missing_ok=True)

    def restart(self, project: str, slot: str) -> None:
        """Restarts the slot's process, which drains first; give it no traffic before. Raises ServiceError."""
        from jobs.services import supervisor

        program = _program(project, slot)
        try:
            processes = supervisor.rpc(self._settings, program)
            if processes.getProcessInfo(program)["statename"] in _UP:
                processes.stopProcess(program, True)
            processes.startProcess(program, False)
        except (OSError, HTTPException, Fault) as error:
            raise ServiceError(f"the supervisor did not restart {program}: {error}; see `tidemill status`") from error

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
            time.sleep(_PAUSE)
        raise ServiceError(
            f"slot {slot} of {project} did not serve {release or 'nothing'} within {seconds:.0f} seconds "
            f"(it answers {state or 'nothing'}); see {self._settings.home / 'logs'}"
        )

    def own(self, project: str, slot: str, route: str) -> Own:
        """What the slot itself counts of a route since its process started; empty while it does not answer."""
        import httpx

        key = self._settings.api_key
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        try:
            answer = httpx.get(f"{self.url(project, slot)}/metrics", headers=headers, timeout=2, trust_env=False)
        except httpx.HTTPError:
            return Own()
        times, scores, resident = dict[float, float](), dict[float, float](), _RESIDENT.search(answer.text)
        for name, labels, value in _SAMPLE.findall(answer.text):
            known = dict(_LABEL.findall(labels))
            if known.get("route") != route:
                continue
            if name == "tidemill_request_seconds_bucket" and known["status"] == "200":
                times[float(known["le"]) * 1000] = float(value)
            elif name == "tidemill_scores_total":
                scores[float(known["up_to"])] = float(value)
        bounds = sorted(times)
        below = [0.0, *(times[bound] for bound in bounds)]
        return Own(
            times=tuple((bound, times[bound] - before) for bound, before in zip(bounds, below, strict=False)),
            scores=tuple(sorted(scores.items())),
            resident_bytes=float(resident[1]) if resident else None,
        )

    def state(self, project: str, slot: str) -> dict[str, Any]:
        """What the slot says of itself: release, digest, epoch, refused; empty while it does not answer."""
        import httpx

        try:
            answer = httpx.get(f"{self.url(project, slot)}/readyz", timeout=2, trust_env=False).json()
        except (httpx.HTTPError, ValueError):
            return {}
        return dict(answer)


def _program(project: str, slot: str) -> str:
    return f"serve-{project}-{slot}"
