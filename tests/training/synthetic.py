"""A made-up snapshot with a signal to learn, published the way the snapshot stage does."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import SecretStr

from jobs.batch import day_start
from jobs.lake import Lake
from jobs.projects import hook
from jobs.projects.fraud.spec import FRAUD
from jobs.settings import Settings
from jobs.spec import Project
from jobs.storage import Published, publish
from jobs.training.splits import plan_of, span


def small_project(trials: int = 3) -> Project:
    """The fraud project with few trials and a gate that fits a small test part."""
    model = replace(FRAUD.models[0], trials=trials)
    return replace(FRAUD, models=(model,), gate=replace(FRAUD.gate, minimum_rows=500))


AS_OF = date(2026, 2, 22)
SPLIT = FRAUD.models[0].split
PLAN = plan_of(SPLIT, AS_OF - timedelta(days=FRAUD.label.delay_days + span(SPLIT) - 1))
DAY = 86_400_000_000


def frame(rows_a_day: int = 400, seed: int = 7, signal: float = 1.0, negative_control: bool = False) -> pa.Table:
    """Every day of the plan, from the first fold's training to the last test day."""
    random = np.random.default_rng(seed)
    n = len(PLAN.days) * rows_a_day
    first = int(day_start(PLAN.days.first).timestamp() * 1_000_000)
    time = np.sort(first + np.repeat(np.arange(len(PLAN.days)), rows_a_day) * DAY + random.integers(0, DAY, n))
    cents = np.round(np.exp(random.normal(8.3, 0.8, n))).astype(np.int64)
    risky = random.random(n) < 0.02
    counts = {days: random.poisson(days * 2, n) for days in (1, 7, 30)}
    customer = {"found": np.ones(n, bool)}
    terminal = {"found": np.ones(n, bool)}
    for window, count in counts.items():
        customer[f"count_{window}d"] = count
        customer[f"amount_cents_{window}d"] = count * random.integers(2_000, 6_000, n)
        terminal[f"count_{window}d"] = count
        terminal[f"frauds_{window}d"] = np.where(risky, random.binomial(count, 0.5), random.binomial(count, 0.003))
    night = time % DAY < 7 * DAY // 24
    odd = night & (cents > 5_000) & (cents < 9_000)  # what no line through the inputs can tell apart
    margin = -6.0 + signal * (5.0 * odd + 5.5 * risky + 3.0 * (cents > 22_000))
    label = random.random(n) < 1 / (1 + np.exp(-margin))
    if negative_control:
        known = time < int(day_start(PLAN.final.test.first).timestamp() * 1_000_000)
        label[known] = random.permutation(label[known])
    payload = {"event_time": time, "amount_cents": cents}
    nothing = {view.name: dict.fromkeys(view.features, np.zeros(n, dtype=np.int64)) for view in FRAUD.every_view}
    views = nothing | {"customer": nothing["customer"] | customer, "terminal": nothing["terminal"] | terminal}
    vectors = hook(FRAUD, "features").request(payload, views)
    columns = {
        "event_id": pa.array([f"t{row:07}" for row in range(n)]),
        "event_time": pa.array(time, pa.timestamp("us", tz="UTC")),
        "customer_id": pa.array([f"c{one}" for one in random.integers(0, 4_000, n)]),
        "terminal_id": pa.array([f"m{one}" for one in random.integers(0, 300, n)]),
        "amount_cents": cents,
        "label": label,
    }
    columns |= {name: vectors[:, index] for index, name in enumerate(FRAUD.models[0].inputs)}
    return pa.table(columns)


def publish_snapshot(settings: Settings, run: str, table: pa.Table, *, negative_control: bool = False) -> Published:
    """The table as the run's snapshot."""
    facts = {
        "as_of": AS_OF.isoformat(),
        **PLAN.document(),
        "rows": len(table),
        "spec": FRAUD.digest,
        "git": "0" * 40,
        "negative_control": negative_control,
    }

    def write(folder: Path) -> int:
        pq.write_table(table, folder / "frame.parquet")
        (folder / "snapshot.json").write_text(json.dumps(facts))
        return len(table)

    partition = Lake(settings.lake_uri).run(FRAUD.name, run) / "snapshot"
    return publish(
        partition, write, inputs={"table": str(table.num_rows), "run": run}, watermark=AS_OF.isoformat(), facts=facts
    )


def own_database(settings: Settings, postgres: str) -> Settings:
    """The settings with a ledger that nobody else uses."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    head, _, query = postgres.partition("?")
    url = head.rpartition("/")[0] + f"/{name}" + (f"?{query}" if query else "")
    return settings.model_copy(update={"database_url": SecretStr(url)})
