"""The tables of docs/performance.md, written between its markers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tests.bench.measure import Figures

TITLES = {
    "point_in_time": "Point-in-time join: 1,000,000 labels, 24 features",
    "point_in_time_10m": "Point-in-time join: 10,000,000 labels, 24 features",
    "materialize_sqlite": "Materialization: 100,000 entities, 24 features, SQLite",
    "materialize_redis": "Materialization: 100,000 entities, 24 features, Redis",
    "read_1_sqlite": "Reading 1 entity, SQLite",
    "read_100_sqlite": "Reading 100 entities, SQLite",
    "read_1_redis": "Reading 1 entity, Redis",
    "read_100_redis": "Reading 100 entities, Redis",
    "one_more_day": "One more day of data",
    "replay": "Replay of 1,000,000 served vectors",
    "serving": "Serving: single predictions of one LightGBM model, 32 connections, one worker",
    "lists": "Lists of ten among 100,000 items: found, ranked and logged, one after the other, SQLite",
}
_NAMES = {"cpu_seconds": "CPU seconds", "wall_seconds": "seconds", "peak_mb": "peak MB",
          "cpu_microseconds": "CPU µs a call", "median_microseconds": "median µs a call",
          "p50_milliseconds": "p50 ms", "p95_milliseconds": "p95 ms", "p99_milliseconds": "p99 ms"}  # fmt: skip
_LEFT_OUT = ("rows", "values", "calls", "vectors")


def write(results: Mapping[str, Mapping[str, Figures]], page: Path) -> None:
    """Puts a table for each result between the page's markers, where others stay as they are; raises ValueError without."""
    text = page.read_text()
    begin, end = "<!-- results begin -->\n", "<!-- results end -->"
    before, rest = text.split(begin)
    there, after = rest.split(end)
    known = {table.split("**")[1]: table for table in re.split(r"(?=\n\*\*)", there)[1:]}
    tables = [
        _table(title, results[name], reads=name.startswith("read_")) if name in results else known.get(title, "")
        for name, title in TITLES.items()
    ]
    page.write_text(f"{before}{begin}{''.join(tables)}{end}{after}")


def _table(title: str, contestants: Mapping[str, Figures], *, reads: bool) -> str:
    columns = [name for name in next(iter(contestants.values())) if name not in _LEFT_OUT]
    if reads:
        columns = [name for name in columns if name.endswith("microseconds")]
    heads = [_NAMES.get(name, name.replace("_", " ")) for name in columns]
    lines = [f"\n**{title}**\n", f"| | {' | '.join(heads)} |", f"|---|{'---:|' * len(columns)}"]
    for name, figures in contestants.items():
        lines.append(f"| {name} | {' | '.join(_shown(figures.get(column)) for column in columns)} |")
    return "\n".join(lines) + "\n\n"


def _shown(value: object) -> str:
    return f"{value:,.2f}".rstrip("0").rstrip(".") if isinstance(value, int | float) else "–"
