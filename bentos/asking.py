"""A request as the slot takes it, once its HTTP is done with, and how one is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple


class Asking(NamedTuple):
    """The bytes of a request, and who asks."""

    body: bytes
    request_id: str
    key: str
    """The name of the bearer key."""
    until: float
    """The `time.perf_counter` by which its turn must have come."""
    shadow: bool = False
    """Mirrored by the router: it counts as no event and is logged apart."""


Answer = Callable[[Asking], Awaitable[bytes]]
