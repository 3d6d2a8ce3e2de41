"""Clients in threads, which keep asking for as long as a block lasts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def asking(ask: Callable[[int], None], over: threading.Event, clients: int) -> Iterator[None]:
    """Threads that call `ask` with their number, each until `over` is set, which the end of the block does."""
    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(30)
