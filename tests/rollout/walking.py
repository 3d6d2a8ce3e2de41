"""A project's rollout on an installation of `cloud`, as a person or the orchestrator would ask for it."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, replace
from typing import Any

from jobs.lake import Lake
from jobs.projects.fraud.spec import FRAUD
from jobs.release.ledger import Ledger
from jobs.settings import Settings
from jobs.spec import Project
from jobs.stages import rollout
from tests.releases import release
from tests.rollout.cloud import PROJECT, Cloud
from tests.rollout.policies import WALK

POLICY = replace(WALK, steps=(50, 100), maximum_score_distance=None)


@dataclass
class Walk:
    """A ledger of its own, and the commands on it."""

    made: Cloud
    settings: Settings
    project: Project

    def ask(self, action: str, **options: Any) -> tuple[int, dict[str, Any]]:
        """The exit code and the facts of `tidemill rollout <action>`."""
        result = rollout.run(self.project, self.settings, action=action, **options)
        return result.exit_code, json.loads(json.dumps(dict(result.facts), default=str))

    def decided(self, action: str, **options: Any) -> tuple[int, dict[str, Any]]:
        """Asks for what may hold until it no longer does."""
        deadline = time.monotonic() + 60
        while True:
            code, facts = self.ask(action, **options)
            if code != 99 or time.monotonic() > deadline:
                return code, facts
            time.sleep(0.5)

    def challenger(self, seed: int) -> str:
        """Another release, registered."""
        bundle = release(Lake(self.settings.lake_uri), FRAUD, self.made.home / f"bundle-{seed}", seed=seed)
        with Ledger(self.settings.need("database_url")) as ledger:
            ledger.set_challenger(PROJECT, bundle.release, bundle.digest, "test")
        return str(bundle.release)

    def champion(self) -> str:
        """A first release, walked to champion."""
        name = self.challenger(1)
        assert self.ask("start")[0] == 0
        assert self.decided("step", percent=100)[0] == 0
        assert self.ask("promote")[0] == 0
        return name


def walk(made: Cloud, postgres: str, **policy: Any) -> Walk:
    """A walk with an empty ledger, under the policy of these tests with these changes."""
    import psycopg

    name = f"walk_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    head, _, query = postgres.partition("?")
    url = f"{head.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")
    values = made.settings.model_dump() | {"database_url": url}
    settings = Settings(_env_file=None, **values)  # type: ignore[call-arg]
    return Walk(made, settings, replace(FRAUD, canary=replace(POLICY, **policy)))
