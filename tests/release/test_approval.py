"""Between gate and registry a person is asked where the project wants it; silence is a no."""

from __future__ import annotations

import doctest
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.errors import GateRejected, UsageError
from jobs.release import approval as rules
from jobs.release.ledger import Ledger
from jobs.result import Result
from jobs.spec import Approval, SpecError
from jobs.stages import approval, gate, register
from jobs.storage import current
from tests.training.runs import RUN, Trained

ASKED = Approval(timeout_hours=2, note="Look at the *slices*.")


def asking(trained: Trained) -> Trained:
    return replace(trained, project=replace(trained.project, approval=ASKED))


def ask(trained: Trained, action: str, **answer: str) -> Result:
    return approval.run(trained.project, trained.settings, run=RUN, action=action, **answer)


def test_examples_in_the_documentation_hold() -> None:
    assert doctest.testmod(rules).failed == 0


def test_the_form_has_the_verdict_the_card_and_the_way_to_the_plots(finished: Trained) -> None:
    got = ask(asking(finished), "show")
    body = got.facts["body"]
    assert body.startswith("Look at the *slices*.\n\n**PROMOTE**: ")
    for part in ("| check | state |", "| PASSED |", "## Intended use", "within 2 hours it is a no", got.facts["page"]):
        assert part in body, part
    html = Path(got.facts["page"]).read_text()
    assert html.count("data:image/png;base64,") >= 3
    assert "Intended use" in html
    assert "http://" not in html


def test_nothing_is_registered_before_somebody_agreed(broken: Trained) -> None:
    trained = asking(broken)
    with pytest.raises(GateRejected, match="nobody has answered yet"):
        register.run(trained.project, trained.settings, run=RUN)
    assert ask(trained, "answer", answer="reject", by="ada", note="the slices are thin").exit_code == 0
    with pytest.raises(GateRejected, match="rejected by ada: the slices are thin"):
        register.run(trained.project, trained.settings, run=RUN)
    got = ask(trained, "answer", answer="approve", by="ada", note="seen")
    assert (got.facts["verdict"], got.facts["reason"]) == ("PROMOTE", "approved by ada: seen")
    assert register.run(trained.project, trained.settings, run=RUN).facts["challenger"] is True
    with Ledger(trained.settings.need("database_url")) as ledger:
        found = ledger.verdicts(trained.project.name, "approval")
    assert [(one.subject, one.verdict) for one in found] == [(RUN, "PROMOTE"), (RUN, "REJECT")]


def test_silence_is_a_no_and_nobody_approves_without_a_name(broken: Trained) -> None:
    trained = asking(broken)
    got = ask(trained, "answer", answer="reject")
    assert (got.facts["verdict"], got.facts["reason"]) == ("REJECT", "nobody answered within 2 hours, which is a no")
    for by in ("", "  "):
        with pytest.raises(UsageError, match="needs --by"):
            ask(trained, "answer", answer="approve", by=by)
    with pytest.raises(UsageError, match="not approve or reject"):
        ask(trained, "answer", answer="yes", by="ada")
    with pytest.raises(GateRejected, match="nobody answered"):
        register.run(trained.project, trained.settings, run=RUN)


def test_what_was_approved_is_what_is_registered(broken: Trained) -> None:
    trained = asking(broken)
    ask(trained, "answer", answer="approve", by="ada")
    evaluation = current(trained.run / "evaluation")
    assert evaluation is not None
    with Ledger(trained.settings.need("database_url")) as ledger, pytest.raises(GateRejected, match="another eval"):
        approval.require_approval(trained.project, ledger, RUN, "0" * 64)


def test_nobody_is_asked_about_what_the_gate_refused_or_where_nobody_is_to_be_asked(broken: Trained) -> None:
    with pytest.raises(UsageError, match="declares no approval"):
        ask(broken, "show")
    strict = replace(broken.project.gate, minimum_rows=10**9)
    trained = replace(broken, project=replace(broken.project, gate=strict, approval=ASKED))
    assert gate.run(trained.project, trained.settings, run=RUN).exit_code == 1
    for action in ("show", "answer"):
        with pytest.raises(GateRejected, match="did not pass the gate"):
            ask(trained, action, answer="approve", by="ada")


def test_an_endless_wait_is_refused(finished: Trained) -> None:
    for hours in (0, -1, 1e6):
        with pytest.raises(SpecError, match="approval timeout_hours"):
            replace(finished.project, approval=Approval(timeout_hours=hours))
