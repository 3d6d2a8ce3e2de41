"""Progress bars: on standard error, and only for a person at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

_Item = TypeVar("_Item")


def track(items: Sequence[_Item], what: str) -> Iterator[_Item]:
    """The items, one by one, with a bar that shows how far it is."""
    if not sys.stderr.isatty() or len(items) < 2:
        yield from items
        return
    from rich.console import Console
    from rich.progress import track as bar

    yield from bar(items, description=what, console=Console(stderr=True), transient=True)


@contextmanager
def counter(total: int, what: str) -> Iterator[Callable[[], None]]:
    """A function to call after each of `total` steps, with a bar that shows how far it is."""
    if not sys.stderr.isatty() or not total:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


class Steps:
    """Tells how far a long computation is: a bar for a person at a terminal, a line for each part elsewhere."""

    def __init__(self, bar: Any = None, task: Any = None) -> None:
        self._bar, self._task = bar, task

    def say(self, what: str) -> None:
        """What is done now."""
        if self._bar is None:
            print(what, file=sys.stderr, flush=True)
        else:
            self._bar.update(self._task, description=what)

    def advance(self) -> None:
        """One of the steps is done."""
        if self._bar is not None:
            self._bar.advance(self._task)


@contextmanager
def steps(total: int) -> Iterator[Steps]:
    """What `total` steps are told to."""
    if not sys.stderr.isatty():
        yield Steps()
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        yield Steps(bar, bar.add_task("", total=total))
