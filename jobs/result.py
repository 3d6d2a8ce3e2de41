"""What a stage answers: one line for a person, and facts for a program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Result:
    """A stage's outcome. `facts` is what `--json` prints; its keys are part of the interface."""

    line: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    exit_code: int = 0
    """0 done; 1 a finding that must stop what follows (a refusal, a rollback); 99 nothing to do, or not yet."""
