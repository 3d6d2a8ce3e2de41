"""What one key may ask: buckets, the day's rows, keys that change, patterns that are reported."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from bentos.keys import OWN, Keys
from bentos.limits import Limits
from bentos.scanning import WINDOW, Scans
from jobs.errors import SpecError
from jobs.settings import Settings
from jobs.spec import Serving
from tests.serving.worker import variant

DAY = 86_400


class Row(NamedTuple):
    """A payment as the decoder makes it."""

    transaction_id: str
    event_time: str = "2026-02-01"
    customer_id: str = "c1"
    terminal_id: str = "t1"
    amount_cents: int = 100


def limits(path: Path, **serving: Any) -> Limits:
    return Limits(Serving(**serving), path / "rows.json")


@given(st.lists(st.floats(0, 3), min_size=1, max_size=300), st.integers(1, 20))
def test_a_key_never_has_more_than_a_burst_and_its_rate(pauses: list[float], rate: int) -> None:
    ours, now, granted = limits(Path("unused"), requests_per_second=rate), 1e9, []
    for pause in pauses:
        now += pause
        wait = ours.request("shop", now)
        assert wait == 0 or 1 <= wait <= 2
        if wait == 0:
            granted.append(now)
    for first in range(len(granted)):
        for last in range(first, len(granted)):
            assert last - first + 1 <= 2 * rate + rate * (granted[last] - granted[first]) + 1e-3
    assert ours.request("another", now) == 0, "each key has a bucket of its own"


def test_who_comes_back_when_told_is_answered() -> None:
    ours, now = limits(Path("unused"), requests_per_second=3), 1e9
    while not (wait := ours.request("shop", now)):
        pass
    assert ours.request("shop", now + wait) == 0


def test_the_days_rows_are_counted_over_restarts_and_begin_anew_at_midnight(tmp_path: Path) -> None:
    noon = 20_000 * DAY + DAY // 2
    ours = limits(tmp_path, rows_per_day=100)
    assert ours.rows("shop", 60, noon) == 0
    assert ours.rows("shop", 41, noon) == DAY // 2, "the seconds until midnight"
    assert ours.rows("shop", 40, noon) == ours.rows("another", 100, noon) == 0
    ours.save()
    again = limits(tmp_path, rows_per_day=100)
    assert again.rows("shop", 1, noon + 10) == DAY // 2 - 10
    assert again.rows("shop", 100, noon + DAY // 2) == 0
    (tmp_path / "rows.json").write_text("[")
    assert limits(tmp_path, rows_per_day=100).rows("shop", 100, noon) == 0


def test_a_key_is_rotated_while_both_are_in_force(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bentos.keys._LOOK_AGAIN", -1.0)
    keys = Keys(settings.model_copy(update={"api_key": SecretStr("own")}))
    path, hashed = settings.home / "serving" / "keys.json", lambda key: sha256(key.encode()).hexdigest()
    path.parent.mkdir(parents=True, exist_ok=True)

    def known(*names: str) -> list[str | None]:
        return [keys.name(f"Bearer {name}".encode()) for name in names]

    assert known("own", "old", "new") == [OWN, None, None]
    for turn, (shop, expected) in enumerate(
        [
            (hashed("old"), [OWN, "shop", None]),
            ([hashed("old"), hashed("new")], [OWN, "shop", "shop"]),
            ("", [OWN, None, None]),
        ]
    ):
        path.write_text(json.dumps({"shop": shop, "turn": str(turn)}))
        assert known("own", "old", "new") == expected
    path.write_text(json.dumps({"shop": hashed("new")}))
    assert known("new") == ["shop"]
    path.write_text("{")
    assert known("own", "new") == [OWN, "shop"], "what does not parse changes nothing"
    path.unlink()
    assert known("own", "new") == [OWN, None]


def test_a_key_that_walks_along_one_input_is_reported_once_an_hour() -> None:
    seen: list[tuple[str, str]] = []
    scans = Scans(variant(scan_values=20), lambda key, name: seen.append((key, name)))
    for hour in (0, 1):
        for step in range(200):
            scans.see("thief", [Row(f"e{step}", amount_cents=step)], 1e9 + hour * WINDOW)
            scans.see("shop", [Row(f"e{step}", customer_id=f"c{step % 15}", amount_cents=step)], 1e9 + hour * WINDOW)
        scans.see("retry", [Row(f"e{step}") for step in range(200)], 1e9 + hour * WINDOW)
        assert seen == [("thief", "amount_cents")] * (hour + 1)
    Scans(variant(scan_values=0), lambda *found: seen.append(found)).see(
        "thief", [Row(str(n), amount_cents=n) for n in range(99)], 1e9
    )
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("serving", "fault"),
    [
        ({"deadline_milliseconds": 0}, "must be at least 1"),
        ({"rows_per_day": 0}, "must be at least 1"),
        ({"requests_per_second": -1}, "must be at least 1"),
        ({"cache_seconds": -1}, "must not be negative"),
        ({"round_scores": 0}, "is not from 1 to 15 decimals"),
        ({"cache_seconds": 5}, "'customer' is a live view, in which every event counts"),
    ],
)
def test_a_declaration_that_cannot_be_served_is_refused(serving: dict[str, Any], fault: str) -> None:
    with pytest.raises(SpecError, match=fault):
        variant(**serving)
    assert variant(batch_only=True, cache_seconds=5).serving.cache_seconds == 5
