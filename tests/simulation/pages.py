"""The tables of docs/decisions.md, written between its markers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.simulation.peeking import Peeked
from tests.simulation.walk import Outcome, wilson

BEGIN, END = "<!-- simulation begin -->\n", "<!-- simulation end -->"
Pair = tuple[Peeked, Peeked]


def write(
    page: Path, good: Sequence[Outcome], bad: Sequence[Outcome], alike: Pair, level: Pair, lifted: Pair, lift: float
) -> None:
    """Replaces what is between the markers of the page; raises ValueError without them."""
    before, rest = page.read_text().split(BEGIN)
    after = rest.split(END)[1]
    between = "\n\n".join([_walks(good, bad), _peeks(alike, level, lifted, lift)])
    page.write_text(f"{before}{BEGIN}\n{between}\n\n{END}{after}")


def _walks(good: Sequence[Outcome], bad: Sequence[Outcome]) -> str:
    heads = ("candidate", "walks", "rolled back", "of these beyond chance", "by", "requests to it until then",
             "looks until then")  # fmt: skip
    return _table(heads, [_walk(outcome) for outcome in (*good, *bad)])


def _walk(outcome: Outcome) -> tuple[str, ...]:
    ended, total = len(outcome.ended), len(outcome.fates)
    rules = ", ".join(f"{rule} {count}" for rule, count in outcome.rules) or "–"
    return (
        outcome.scenario.name,
        f"{total:,}",
        _share(ended, total),
        str(len(outcome.on_evidence)),
        rules,
        _delays(outcome.delay("requests", q) for q in (0.5, 0.9)),
        _delays(outcome.delay("looks", q) for q in (0.5, 0.9)),
    )


def _peeks(alike: Pair, level: Pair, lifted: Pair, lift: float) -> str:
    heads = ("what", "test", "found something", "looks until then")
    rows = []
    for what, pair in (
        ("errors of two equal slots", alike),
        ("mean of two equal groups", level),
        (f"mean of two groups, one {100 * lift:.0f} % higher", lifted),
    ):
        for peeked in pair:
            shares = _share(peeked.found, len(peeked.first))
            rows.append((what, peeked.name, shares, _delays(peeked.delay(q) for q in (0.5, 0.9))))
    return _table(heads, rows)


def _share(events: int, trials: int) -> str:
    """A percentage with its 95 % interval."""
    low, high = wilson(events, trials)
    return f"{100 * events / trials:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def _delays(quantiles: Iterable[float]) -> str:
    """The median and the 90th percentile."""
    known = [f"{value:,.0f}" for value in quantiles if math.isfinite(value)]
    return f"{known[0]}, 90 % within {known[1]}" if known else "–"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
