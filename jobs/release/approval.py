"""A person's yes or no between gate and registry: the form they are shown, and the verdict of their answer; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.release.checks import Check, State
from jobs.rollout.verdict import GATE, Verdict, conclude
from jobs.spec import Approval, Project

KIND = "approval"
"""Of the ledger's verdicts."""
NOTED = 500
"""As many characters as are kept of what a person writes."""


def answered(policy: Approval, *, approved: bool, by: str, note: str = "") -> Verdict:
    """PROMOTE for a yes that somebody gave, else REJECT; an answer that nobody gave is the timeout's.

    >>> answered(Approval(timeout_hours=2), approved=False, by="").reason
    'nobody answered within 2 hours, which is a no'
    >>> answered(Approval(), approved=True, by="ada", note="looks right").reason
    'approved by ada: looks right'
    """
    said = "approved" if approved else "rejected"
    detail = f"{said} by {by[:NOTED]}" + (f": {note[:NOTED]}" if note else "")
    if not by:
        detail = f"nobody answered within {policy.timeout_hours:g} hours, which is a no"
    state = State.PASSED if approved and by else State.FAILED
    return conclude([Check(name=KIND, state=state, detail=detail, rule="a person said yes")], GATE, because=detail)


def form(project: Project, policy: Approval, document: Mapping[str, Any], cards: Mapping[str, str], page: str) -> str:
    """The form's text as Markdown: the verdict with every check, the models' cards, and where their plots are."""
    lines = [policy.note, ""] if policy.note else []
    lines += [
        f"**{document['verdict']}**: {document['reason']}",
        "",
        f"All of it on one page, with the plots: `{page}`",
        "",
        f"Without an answer within {policy.timeout_hours:g} hours it is a no, and the champion stays.",
        "",
        "| check | state | value | interval | bound | rule |",
        "|---|---|---:|---:|---:|---|",
    ]
    lines += [_row(check) for check in document["checks"]]
    for name, text in cards.items():
        lines += ["", f"# {project.title}: {name}", "", text.partition("\n")[2].strip()]
    return "\n".join(lines) + "\n"


def _row(check: Mapping[str, Any]) -> str:
    low, high = check.get("low"), check.get("high")
    between = "" if low is None or high is None else f"{_number(low)} to {_number(high)}"
    cells = [
        check["name"], check["state"], _number(check.get("value")), between, _number(check.get("bound")), check["rule"],
    ]  # fmt: skip
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, int | float) else str(value)
