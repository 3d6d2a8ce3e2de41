"""A champion in a real ledger, and partitions as the data stages publish them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from jobs.lake import Lake
from jobs.projects.fraud.spec import FRAUD
from jobs.release.bundle import Bundle
from jobs.release.ledger import Ledger
from jobs.release.scorer import Scorer
from jobs.settings import Settings
from jobs.spec import Project
from jobs.storage import publish
from tests.releases import release, rows


@pytest.fixture
def project() -> Project:
    return FRAUD


@pytest.fixture
def settings(settings: Settings, postgres: str) -> Settings:
    """Settings with a ledger of this test's own."""
    import psycopg

    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    head, _, query = postgres.partition("?")
    url = head.rpartition("/")[0] + f"/{name}" + (f"?{query}" if query else "")
    return settings.model_copy(update={"database_url": SecretStr(url)})


@pytest.fixture
def ledger_url(settings: Settings) -> str:
    return settings.need("database_url")


@pytest.fixture
def champion(settings: Settings, lake: Lake, project: Project, tmp_path: Path) -> Bundle:
    """A release that is champion."""
    bundle = release(lake, project, tmp_path / "bundle")
    with Ledger(settings.need("database_url")) as ledger:
        ledger.promote(project.name, 0, bundle.release, bundle.digest)
    return bundle


Serve = Callable[..., pd.DataFrame]


@pytest.fixture
def serve(lake: Lake, project: Project, champion: Bundle) -> Serve:
    """Publishes a day of predictions as `ingest` does; answers what was served."""

    def served(day: date, count: int = 600, shift: float = 0.0, change: Callable[[pd.DataFrame], None] | None = None,
               drop: str | None = None, repeat: bool = False) -> pd.DataFrame:  # fmt: skip
        frame = rows(project, day, 1, count, seed=day.toordinal(), shift=shift)
        if change:
            change(frame)
        inputs = list(project.models[-1].inputs)
        scorer = Scorer.load(champion.folder, champion.manifest)
        vectors = frame[inputs].to_numpy()
        log = pd.DataFrame(
            {
                "request_id": [f"q-{day}-{row}" for row in range(count)],
                "event_id": [f"e-{day}-{row}" for row in range(count)],
                "event_time": frame["event_time"],
                "served_at": frame["event_time"] + timedelta(minutes=1),
                "release": champion.release,
                "slot": "blue",
                "score": scorer.score(np.nan_to_num(vectors)),
                "decision": "approve",
                "degraded": False,
                "entities": "{}",
                "payload": "{}",
                "vector": [json.dumps([None if np.isnan(one) else one for one in row]) for row in vectors.tolist()],
            }
        )
        if repeat:  # the same events asked again a minute later, and every record delivered twice
            again = log.assign(request_id=log["request_id"] + "-again", score=0.5,
                               served_at=log["served_at"] + timedelta(minutes=1))  # fmt: skip
            log = pd.concat([log, log, again])
        if drop:
            log = log.drop(columns=drop)
        put(lake.raw(project.name, "predictions", day), log, day)
        return log

    return served


@pytest.fixture
def label(lake: Lake, project: Project) -> Callable[..., None]:
    """Publishes a day's spine for what was served that day: true where the score is among the highest."""

    def labelled(day: date, log: pd.DataFrame, good: bool = True) -> None:
        events = log.drop_duplicates("event_id")
        chance = np.random.default_rng(day.toordinal()).random(len(events))
        truth = (events["score"] if good else 1 - events["score"]).to_numpy() * 0.8 + chance * 0.2
        frame = pd.DataFrame(
            {
                "event_id": events["event_id"],
                "event_time": events["event_time"],
                "customer_id": [f"c-{row % 90}" for row in range(len(events))],
                "terminal_id": "t-1",
                "amount_cents": 1_000,
                "label": truth > np.quantile(truth, 0.95),
                "label_time": events["event_time"] + timedelta(days=project.label.delay_days),
            }
        )
        put(lake.spine(project.name, day), frame, day)

    return labelled


def put(partition: Path, frame: pd.DataFrame, day: date) -> None:
    """Publishes a frame as the one file of a partition."""

    def write(folder: Path) -> int:
        table = pa.Table.from_pandas(frame, preserve_index=False)
        for index, field in enumerate(table.schema):
            if pa.types.is_timestamp(field.type):
                column = table.column(field.name).cast(pa.timestamp("us", "UTC"))
                table = table.set_column(index, field.name, column)
        pq.write_table(table, folder / "part-00000.parquet")
        return len(table)

    publish(partition, write, inputs={"test": datetime.now(UTC).isoformat()}, watermark=day.isoformat())
