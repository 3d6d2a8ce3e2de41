"""The shop's morning: what tests of replay begin with."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from jobs import mirror
from jobs.lake import Lake
from jobs.settings import Settings
from tests.features.shop import DAY, NOON, Sale, Shop, open_shop


@contextmanager
def morning(settings: Settings) -> Iterator[Shop]:
    """A shop on the morning of DAY: ten days of history of two customers, all of it published and online."""
    name = open_shop()
    kept = _history()
    lake = Lake(settings.lake_uri).folder
    shutil.copytree(kept.settings.home / "lake", lake)
    mirror.send(lake)
    shutil.copytree(kept.settings.home / "online", settings.home / "online")
    yield Shop(settings, clock=kept.clock)
    sys.modules.pop(name)


@cache
def _history() -> Shop:
    home = Path(tempfile.mkdtemp(prefix="tidemill-shop-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    shop = Shop(
        Settings(
            _env_file=None, home=home, lake_uri=str(home / "lake"), online_store_url=f"sqlite:///{home / 'online'}"
        )
    )  # type: ignore[call-arg]
    for back in range(10, 0, -1):
        day = DAY - timedelta(days=back)
        sales = [
            Sale(f"h-{day}-{number}", datetime(day.year, day.month, day.day, 9 + number, tzinfo=UTC), f"c-{number % 2}",
                 "t-1", 500 + 137 * number + back, label=number == 0 and back == 9)
            for number in range(4)
        ]  # fmt: skip
        shop.deliver(day, sales, delivered={sale.id: day for sale in sales})
        shop.profile(day, {f"c-{number}": [back, 10 * back, 2, 700 + back, 3, 1_001] for number in range(2)})
    shop.materialize()
    return shop


def sales(*offsets: int, customer: str = "c-0", first: int = 0) -> list[Sale]:
    """Sales of one customer, so many seconds after noon."""
    return [
        Sale(f"s-{first + number:03d}", NOON + timedelta(seconds=one), customer) for number, one in enumerate(offsets)
    ]
