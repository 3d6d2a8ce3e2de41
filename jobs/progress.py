"""Progress bars: on standard error, and only for a person at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

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
