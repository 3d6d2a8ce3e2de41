"""What a case of the proof is, and what came of one: values."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Generic, TypeVar

SEED = 20_261_121
"""Of everything that is drawn."""
Place = TypeVar("Place")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """How far something got."""

    caught: bool
    stage: str
    """Where it ended: the stage that refused it, or the last one it passed."""
    guard: str = ""
    """The check that fired first."""
    said: str = ""
    """What that said."""
    after: str = ""
    """After how many rows, requests or seconds."""
    exposed: int = 0
    """How many different entities got an answer from it."""


@dataclass(frozen=True, kw_only=True)
class Case(Generic[Place]):
    """Something bad, and who has to notice."""

    name: str
    done: str
    """What is done, in a sentence."""
    stages: tuple[str, ...]
    """At which stage it must end, at the latest the last of them."""
    guards: tuple[str, ...]
    """How the name of the check that is named first may begin."""
    run: Callable[[Place, bool], Seen]
    """Does it; with False after its guard was taken away."""
    removed: str = ""
    """What is taken away then; empty where that is not tried."""
    why_not: str = ""
    """By which rule of a task or a declaration it does not apply; empty where it does."""

    def expects(self, seen: Seen) -> bool:
        """Whether it was caught at one of its stages, by one of its guards."""
        return seen.caught and seen.stage in self.stages and seen.guard.startswith(self.guards)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A case with what came of it."""

    name: str
    done: str
    seen: Seen
    as_expected: bool
    seconds: float
    removed: str = ""
    without: Seen | None = None
    date: str = ""
    """The day it was run on."""

    @property
    def ok(self) -> bool:
        """Whether the guard that was expected caught it, and without that guard nothing did."""
        return self.as_expected and (self.without is None or not self.without.caught)

    def document(self) -> dict[str, Any]:
        """The row as JSON."""
        return asdict(self) | {"ok": self.ok}

    @staticmethod
    def of(document: dict[str, Any]) -> Row:
        """The row that `document` wrote."""
        rest = {name: document[name] for name in ("name", "done", "as_expected", "seconds", "removed")}
        without = document["without"]
        seen, date = Seen(**document["seen"]), document.get("date", "")
        return Row(**rest, seen=seen, without=Seen(**without) if without else None, date=date)


def judged(case: Case[Place], place: Place) -> Row:
    """The case, run with its guard and, where it says so, once more without."""
    began = time.monotonic()
    seen = case.run(place, True)
    row = Row(
        name=case.name, done=case.done, seen=seen, as_expected=case.expects(seen), seconds=0, removed=case.removed
    )  # fmt: skip
    if case.removed:
        row = replace(row, without=case.run(place, False))
    return replace(row, seconds=round(time.monotonic() - began, 1))


@contextmanager
def taken_away(*guards: tuple[Any, str, Any]) -> Iterator[None]:
    """For as long as the block lasts, names of modules stand for something else: a guard that is not there."""
    kept: Sequence[tuple[Any, str, Any]] = [(module, name, getattr(module, name)) for module, name, _ in guards]
    for module, name, other in guards:
        setattr(module, name, other)
    try:
        yield
    finally:
        for module, name, before in kept:
            setattr(module, name, before)
