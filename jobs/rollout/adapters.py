"""Where releases are rolled out: which slots, and what shares traffic out between them, as TIDEMILL_ROUTING says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from jobs.rollout.balancer import Balancer
from jobs.rollout.counters import Counters
from jobs.rollout.ecs import EcsSlots
from jobs.rollout.fleet import Routers
from jobs.rollout.router import Router
from jobs.rollout.routes import Sharing
from jobs.rollout.slots import Slots
from jobs.settings import Settings


class Routing(Protocol):
    """What shares a project's traffic out between its slots, and counts what became of it."""

    @property
    def mirrors(self) -> bool:
        """Whether it can send a slot a copy of every request."""

    @property
    def drain_seconds(self) -> float:
        """How long a slot may take to end what it has under way."""

    def weights(self, project: str) -> dict[str, int]:
        """Percent of the project's traffic for each slot; they sum to 100."""

    def holds(self, project: str, sharing: Sharing) -> bool:
        """Whether the project's traffic is shared out so."""

    def set_weights(self, project: str, weights: Mapping[str, int], stable: str, shadow: str | None = None) -> None:
        """Shares the project's traffic out; raises UsageError unless the weights sum to 100."""

    def drain(self, project: str, slot: str, seconds: float) -> None:
        """Returns when the slot has nothing under way; raises ServiceError when it has after so many seconds."""

    def observe(self, project: str) -> dict[str, Counters]:
        """Each slot's attempts so far; raises ServiceError when they cannot be had."""

    def observe_shadow(self, project: str) -> dict[str, Counters]:
        """Each slot's mirrored requests so far; raises ServiceError when they cannot be had."""


def adapters(settings: Settings) -> tuple[Slots, Routing]:
    """The slots and the routing of this installation."""
    if settings.routing == "local":
        return Slots(settings), Router(settings)
    slots = EcsSlots(settings)
    return slots, Routers(settings) if settings.routing == "router" else Balancer(settings, slots)
