"""Python runs this as it starts, when this folder is on its path: a second project, which asks a person before it registers."""

from dataclasses import replace

from jobs.projects import PROJECTS
from jobs.spec import Approval

FIRST = next(iter(PROJECTS.values()))
ASKING = replace(FIRST, name="asking", title="Asking", approval=Approval(timeout_hours=25 / 3_600, note="Look twice."))
PROJECTS[ASKING.name] = ASKING
