"""How a person's yes becomes a task: Airflow's form, filled by a `tidemill` command, its answer kept by another."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from _conf import Conf
from _stage import Stage, facts_of, run, stage
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param

from jobs.spec import Project

NOTE = Param(
    None, type=["string", "null"], maxLength=500, title="Note", description="Kept in the ledger.", source="task"
)


class Approve(Stage, ApprovalOperator):
    """Asks whether what passed the gate may be registered, and occupies no worker meanwhile; a timeout is a no.

    A no skips what follows; either answer is kept in the ledger, which `register` asks as well.
    """

    template_fields = ()

    def __init__(self, **rest: Any) -> None:
        hours = rest["project"].approval.timeout_hours
        rest.pop("params", None)  # the run's own choices: no business of this form
        super().__init__(
            subject="", body="", defaults=ApprovalOperator.REJECT, response_timeout=timedelta(hours=hours),
            params={"note": NOTE}, **rest,
        )  # fmt: skip

    def execute(self, context: Any) -> None:
        """Fills the form and waits; raises when there is nothing that a person could agree to."""
        code, line = self.start(context, "--json")
        self.fail_unless_done(code)
        facts = facts_of(line)
        self.subject, self.body = facts["subject"], facts["body"]
        ApprovalOperator.execute(self, context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Keeps the answer, then goes on or skips what follows."""
        said = (event.get("chosen_options") or [self.REJECT])[0]
        who, note = event.get("responded_by_user") or {}, (event.get("params_input") or {}).get("note")
        by = str(who.get("name") or who.get("id") or "")
        self.command = "approval answer"
        self.fixed = {
            "answer": "approve" if said == self.APPROVE and by else "reject", "by": by, "note": str(note or ""),
        }  # fmt: skip
        code, _ = self.start(context)
        self.fail_unless_done(code)
        return super().execute_complete(context, event)


def approval(project: Project, conf: type[Conf]) -> list[Stage]:
    """The task that asks a person, where the project's declaration wants one."""
    asked = project.approval is not None
    return [stage("approval show", project, conf, run, task_id="approve", operator=Approve)] if asked else []
