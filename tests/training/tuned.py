"""A tuning in a process of its own, which stops itself in the middle of its second trial: `python -m tests.training.tuned HOME JOURNAL`."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobs.lake import Lake
from jobs.storage import require
from jobs.training import tuning
from jobs.training.frame import read_frame
from tests.training.runs import RUN, home_of
from tests.training.synthetic import small_project

if __name__ == "__main__":
    home, journal = map(Path, sys.argv[1:])
    settings, project = home_of(home), small_project()
    model = replace(project.models[0], trials=4)
    snapshot = require(Lake(settings.lake_uri).run(project.name, RUN) / "snapshot", "snapshot")
    objective = tuning._objective

    def stopping(*arguments: Any) -> Any:
        inner = objective(*arguments)

        def once_more(trial: Any) -> float:
            if trial.number == 1:
                trial.set_user_attr("rounds", 1)
                signal.raise_signal(signal.SIGSTOP)
            return inner(trial)

        return once_more

    tuning._objective = stopping
    tuning.tune(model, "lightgbm", read_frame(project, model, snapshot), study="s", storage=journal)
