"""A verdict as a table: what was decided, by which rule, and on which numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jobs.services.tables import render


def decisions(verdicts: Iterable[Mapping[str, Any]], title: str) -> str:
    """A row for each verdict: what about, the decision, the rule that fired and the reason."""
    rows = [
        (one["about"], one.get("verdict", "none"), one.get("rule") or "all passed", one.get("reason", ""))
        for one in verdicts
    ]
    return render((title, "decision", "rule that fired", "why"), rows)


def checks(verdict: Mapping[str, Any], title: str) -> str:
    """A row for each check of a verdict: its state, its numbers, the interval, the bound and the samples."""
    rows = [
        (
            one["name"],
            one["state"],
            number(one["value"]),
            interval(one),
            f"{one['rule']}" + ("" if one["bound"] is None else f" (bound {number(one['bound'])})"),
            ", ".join(f"{count:,} {what}" for what, count in one["samples"].items()),
            one["detail"],
        )
        for one in verdict.get("checks", ())
    ]
    return render((title, "state", "value", "interval", "what has to hold", "samples", "in words"), rows)


def interval(check: Mapping[str, Any]) -> str:
    """From where to where, or nothing."""
    low, high = check.get("low"), check.get("high")
    return "" if low is None and high is None else f"{number(low)} to {number(high)}"


def number(value: Any) -> str:
    """Six digits of a number; the ledger keeps NaN and infinity as their names."""
    return f"{value:,.6g}" if isinstance(value, int | float) else "" if value is None else str(value)
