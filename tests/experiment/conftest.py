"""Half of the entities with either release, as log, features and labels publish it, in a real lake and ledger."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jobs.batch import Batches
from jobs.lake import Lake
from jobs.release.bundle import Bundle
from jobs.release.ledger import Ledger
from jobs.rollout.machine import Rollout
from jobs.settings import Settings
from jobs.spec import Experiment, Metric, Project
from jobs.stages import labels
from tests.monitoring.conftest import champion, ledger_url, put, settings  # noqa: F401
from tests.releases import release

POLICY = Experiment(
    primary=Metric(name="brier", direction="lower"), minimum_effect=0.01, minimum_entities=100,
    guardrails=(Metric(name="false_alarms", direction="lower", margin=0.1),),
    secondary=(Metric(name="log_loss", direction="lower"),),
)  # fmt: skip


@pytest.fixture
def project() -> Project:
    from jobs.projects.fraud.spec import FRAUD

    return replace(FRAUD, experiment=POLICY)


@dataclass
class Trial:
    """An experiment under way; `serve` publishes what its two sides answered, by the day."""

    project: Project
    settings: Settings
    lake: Lake
    stable: str
    candidate: str

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.settings.need("database_url"))

    def halved(self, days: int = 20) -> Rollout:
        """The rollout of the candidate, half of the traffic with it for so many days."""
        since = (datetime.combine(datetime.now(UTC).date(), time(), tzinfo=UTC) - timedelta(days=days)).isoformat()
        rollout = Rollout(
            release=self.candidate, digest="0" * 64, epoch_seen=1, slot="green", stable_slot="blue", state="walking",
            step="50", percent=50, policy="ab", started_at=since, step_started_at=since,
        )  # fmt: skip
        with self.ledger as ledger:
            found = ledger.rollout(self.project.name)
            ledger.save_rollout(self.project.name, found[0] if found else 0, rollout.document())
        return rollout

    def serve(self, rollout: Rollout, noise: float, *, days: int = 12, count: int = 500, entities: int = 1_200,
              crossed: int = 0, lost: float = 0.0) -> None:  # fmt: skip
        """Both sides know the chance of a positive label up to a noise, the stable one of 0.25.

        `crossed` entities are answered by both; `lost` is the share of the candidate's events that never came.
        """
        random = np.random.default_rng(5)
        began = datetime.fromisoformat(str(rollout.step_started_at))
        for offset in range(days):
            day = began + timedelta(days=offset)
            who = random.integers(0, entities, count)
            mine = np.where(who < crossed, random.random(count) < 0.5, who % 2 == 0)
            truth = random.beta(1, 3, count)
            guess = np.clip(truth + random.normal(0, 1, count) * np.where(mine, noise, 0.25), 0, 1)
            times = pd.Series(
                pd.to_datetime(day) + pd.to_timedelta(np.linspace(1, 86_000, count).astype(int), unit="s")
            )
            names = [f"c-{one}" for one in who]
            events = [f"e-{offset}-{row}" for row in range(count)]
            log = pd.DataFrame({
                "request_id": [f"q-{one}" for one in events], "event_id": events, "event_time": times,
                "served_at": times + timedelta(seconds=1), "release": np.where(mine, self.candidate, self.stable),
                "slot": np.where(mine, "green", "blue"), "score": guess,
                "decision": np.where(guess > 0.5, "review", "approve"), "degraded": False,
                "entities": [json.dumps({self.project.entity: one}) for one in names], "payload": "{}", "vector": "[]",
            })  # fmt: skip
            kept = ~mine | (random.random(count) >= lost)
            put(self.lake.raw(self.project.name, "predictions", day.date()), log[kept], day.date())
            spine = pd.DataFrame({
                "event_id": events, "event_time": times, self.project.entity: names,
                "label": random.random(count) < truth,
                "label_time": times + timedelta(days=self.project.label.delay_days),
            })  # fmt: skip
            put(self.lake.spine(self.project.name, day.date()), spine, day.date())

    def mature(self) -> None:
        """Joins what has its label by the end of yesterday."""
        yesterday = datetime.now(UTC).date() - timedelta(days=1)
        labels.run(self.project, self.settings, batches=Batches(yesterday, yesterday))


@pytest.fixture
def trial(project: Project, settings: Settings, lake: Lake, champion: Bundle, tmp_path: Path) -> Trial:  # noqa: F811
    other = release(lake, project, tmp_path / "other", seed=2)
    return Trial(project=project, settings=settings, lake=lake, stable=champion.release, candidate=other.release)
