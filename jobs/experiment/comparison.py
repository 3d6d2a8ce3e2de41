"""What an experiment asks of the way in which its two releases are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import ModuleType
from typing import Any, ClassVar, Protocol

from jobs.experiment.arms import Sources
from jobs.result import Result
from jobs.rollout.machine import Rollout
from jobs.rollout.verdict import Verdict


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a planner says instead of the label table: the metric's mean and variance, and events or lists a day."""

    per_day: float
    mean: float | None = None
    variance: float | None = None


@dataclass(frozen=True, kw_only=True)
class Read:
    """A verdict, the facts that its record has beside it, and what its page is made of."""

    verdict: Verdict
    facts: Mapping[str, Any]
    rows: int
    """How many labelled predictions it rests on."""
    curve: list[dict[str, Any]]
    """Value and interval by the day on which labels became known, oldest first."""
    page: Mapping[str, Any]
    """What only this way of comparing tells the template; `measured` names the value, `least` the effect asked for."""


class Comparison(Protocol):
    """Halves of the entities, or both releases in one list."""

    code: ClassVar[tuple[ModuleType, ...]]
    """What a reading depends on beside its inputs."""

    def plan(self, known: Known | None, sources: Sources | None, champion: str | None, effect: float | None) -> Result:
        """How large and long it has to be; raises UsageError where nothing can be planned with what is known."""
        ...

    def planned(self, sources: Sources, champion: str | None) -> dict[str, Any] | None:
        """Its design by the champion's own labels, with the number of labels or lists as `planned`; None without any."""
        ...

    def since(self, rollout: Rollout) -> datetime:
        """From when on answers count."""
        ...

    def read(self, sources: Sources, rollout: Rollout, stable: str, planned: int | None, waited: float) -> Read:
        """What is ingested and labelled by now; `waited` is in seconds at half of the traffic."""
        ...
