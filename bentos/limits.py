"""How much one key may ask of a slot: requests a second by a token bucket, and rows a UTC day, which a restart keeps."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

from jobs.policies import Serving
from jobs.storage import write_atomically

_DAY = 86_400
log = logging.getLogger("tidemill.limits")


class Limits:
    """The buckets and the day's rows of every key that has asked; times are seconds since 1970 UTC."""

    def __init__(self, serving: Serving, path: Path) -> None:
        self._rate, self._burst, self._rows_per_day = (
            serving.requests_per_second, 2.0 * serving.requests_per_second, serving.rows_per_day
        )  # fmt: skip
        self._path = path
        self._buckets: dict[str, tuple[float, float]] = {}
        """By key, how many requests it had left, and when."""
        self._day, self._rows = self._load()
        self._saved = dict(self._rows)

    def request(self, key: str, now: float) -> int:
        """0 when the key may make a request now, which it then has; else the whole seconds until it may."""
        left, at = self._buckets.get(key, (self._burst, now))
        left = min(self._burst, left + max(now - at, 0.0) * self._rate)
        if left < 1:
            self._buckets[key] = left, now
            return math.ceil((1 - left) / self._rate)
        self._buckets[key] = left - 1, now
        return 0

    def rows(self, key: str, count: int, now: float) -> int:
        """0 when the key may ask for so many more rows today, which it then has; else the seconds until tomorrow."""
        day = int(now // _DAY)
        if day > self._day:
            self._day, self._rows = day, {}
        asked = self._rows.get(key, 0) + count
        if asked > self._rows_per_day:
            return math.ceil((day + 1) * _DAY - now)
        self._rows[key] = asked
        return 0

    def save(self) -> None:
        """Writes the day's rows where the next process of this slot reads them, if there are new ones."""
        rows = dict(self._rows)
        if rows == self._saved:
            return
        try:
            write_atomically(self._path, json.dumps({"day": self._day, "rows": rows}).encode())
        except OSError as error:
            log.error("the day's rows of each key are not saved: %s", error)
        else:
            self._saved = rows

    def _load(self) -> tuple[int, dict[str, int]]:
        try:
            found = json.loads(self._path.read_bytes())
            return int(found["day"]), {str(key): int(count) for key, count in found["rows"].items()}
        except FileNotFoundError:
            return 0, {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.error("%s does not parse (%s): every key begins its day anew", self._path, error)
            return 0, {}
