"""`tidemill rollout`, under the policy of these tests, as a process that can be killed: `python -m tests.rollout.command`."""

from __future__ import annotations

import json
import sys

from jobs.errors import TidemillError
from jobs.settings import Settings
from jobs.stages import rollout
from tests.rollout.policies import PROJECTS

if __name__ == "__main__":
    policy, action, *options = sys.argv[1:]
    named = dict(zip((name.removeprefix("--") for name in options[::2]), options[1::2], strict=True))
    values = {**named, **({"percent": int(named["percent"])} if "percent" in named else {})}
    try:
        result = rollout.run(PROJECTS[policy], Settings.load(), action=action, **values)  # type: ignore[arg-type]
    except TidemillError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    print(json.dumps(dict(result.facts), default=str))
    sys.exit(result.exit_code)
