"""A small shop with a batch view and two live views, a real online store and a real lake: where replay is tried out.

Time is made up, but its order is real: answers are given one after the other, and days are delivered in between.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sqlite3
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs import mirror
from jobs.batch import Batches, day_start
from jobs.features.materialize import materialize
from jobs.features.online import OnlineStore
from jobs.features.replay.compare import Replayed, replay
from jobs.features.replay.log import Log
from jobs.features.vectors import online
from jobs.lake import Lake
from jobs.projects import hook
from jobs.projects.fraud.spec import FRAUD
from jobs.settings import Settings
from jobs.spec import PREDICTIONS, FeatureView, LiveView, Project, Window
from jobs.stages import ingest
from jobs.storage import MANIFEST, POINTER, current, publish

INPUTS = (
    "amount", "profile_count_7d", "profile_mean_30d", "customer_count_1d", "customer_mean_7d", "terminal_risk_30d",
    "amount_over_mean",
)  # fmt: skip
PROFILE = FeatureView(
    name="customer_profile",
    entity=("customer_id",),
    features=("count_1d", "amount_cents_1d", "count_7d", "amount_cents_7d", "count_30d", "amount_cents_30d"),
    lookback_days=30,
)
CUSTOMER = LiveView(
    name="customer",
    entity=("customer_id",),
    windows=tuple(
        window
        for days in (1, 7)
        for window in (
            Window(name=f"count_{days}d", function="count", length=timedelta(days=days)),
            Window(name=f"amount_cents_{days}d", function="sum", column="amount_cents", length=timedelta(days=days)),
        )
    ),
)
TERMINAL = LiveView(
    name="terminal",
    entity=("terminal_id",),
    windows=(
        Window(name="count_30d", function="count", length=timedelta(days=30), delay=timedelta(days=7)),
        Window(name="frauds_30d", function="sum", column="label", length=timedelta(days=30), delay=timedelta(days=7)),
    ),
)
SHOP: Project = replace(
    FRAUD,
    name="shop",
    views=(PROFILE,),
    live_views=(CUSTOMER, TERMINAL),
    models=(replace(FRAUD.models[-1], name="shop", inputs=INPUTS, reasons=()),),
    gate=replace(FRAUD.gate, slices=()),
)
RELEASE = "r-000000000001"
DAY = date(2026, 3, 20)
NOON = datetime(2026, 3, 20, 12, tzinfo=UTC)
Columns = Mapping[str, Mapping[str, NDArray[Any]]]


def request(payload: Mapping[str, NDArray[Any]], features: Columns) -> NDArray[np.float64]:
    """The shop's `features.request`: ratios of integers, of every kind of view."""
    profile, customer, terminal = (features[name] for name in ("customer_profile", "customer", "terminal"))
    mean = _ratio(customer["amount_cents_7d"], customer["count_7d"])
    columns = [
        payload["amount_cents"] / 100,
        profile["count_7d"],
        _ratio(profile["amount_cents_30d"], profile["count_30d"]),
        customer["count_1d"],
        mean,
        _ratio(terminal["frauds_30d"], terminal["count_30d"]),
        _ratio(payload["amount_cents"], mean),
    ]
    return np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    ratio = np.zeros(len(whole), dtype=np.float64)
    np.divide(part, whole, out=ratio, where=whole != 0)
    return ratio


def open_shop() -> str:
    """Makes this module the shop's hook; returns the name it is known by."""
    name = f"jobs.projects.{SHOP.name}.features"
    spec = importlib.util.spec_from_file_location(name, str(Path(__file__)))
    copy = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    copy.request = request  # type: ignore[attr-defined]
    sys.modules[name] = copy
    return name


@dataclass(frozen=True)
class Sale:
    """An event; `at` is made up, `label` comes with the delivery."""

    id: str
    at: datetime
    customer: str = "c-1"
    terminal: str = "t-1"
    cents: int = 1_000
    label: bool = False

    @property
    def us(self) -> int:
        return (self.at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)

    def row(self) -> dict[str, Any]:
        return {
            "event_id": self.id, "event_time": self.at, "customer_id": self.customer, "terminal_id": self.terminal,
            "amount_cents": self.cents, "label": self.label, "label_time": self.at + timedelta(days=7),
        }  # fmt: skip

    def payload(self) -> dict[str, Any]:
        at = self.at.isoformat().replace("+00:00", "Z")
        return {"transaction_id": self.id, "event_time": at, "customer_id": self.customer,
                "terminal_id": self.terminal, "amount_cents": self.cents}  # fmt: skip


@dataclass
class Shop:
    """The lake, the store and the log of one test."""

    settings: Settings
    project: Project = SHOP
    records: list[dict[str, Any]] = field(default_factory=list)
    clock: datetime = datetime(2026, 9, 1, tzinfo=UTC)
    """When things happen; each is a minute after the one before."""
    ingested: int = 0

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake_uri)

    @property
    def store(self) -> OnlineStore:
        return OnlineStore.open(self.settings.online_store_url, self.project)

    def deliver(self, day: date, sales: Iterable[Sale], *, delivered: Mapping[str, date] | None = None) -> None:
        """Publishes a day of the spine, and with `delivered` the days on which its events came."""
        rows = sorted((sale.row() for sale in sales), key=lambda row: (row["event_time"], row["event_id"]))
        self._publish(self.lake.spine(self.project.name, day), rows, _SPINE)
        for when in sorted(set((delivered or {}).values())):
            raw = [{"transaction_id": name} for name, one in (delivered or {}).items() if one == when]
            self._publish(self.lake.raw(self.project.name, "transactions", when), raw, _RAW)

    def profile(self, batch: date, values: Mapping[str, Sequence[int]]) -> None:
        """Publishes a batch of the batch view: six integers of each customer."""
        view = self.project.views[0]
        visible = day_start(batch) + timedelta(days=1) + view.lag
        rows = [
            {"customer_id": key, "batch": batch, "available_at": visible, **dict(zip(view.features, six, strict=True))}
            for key, six in sorted(values.items())
        ]
        fields = [("customer_id", pa.string()), ("batch", pa.date32()), ("available_at", pa.timestamp("us", "UTC"))]
        self._publish(
            self.lake.features(self.project.name, view.name, batch),
            rows,
            pa.schema([*fields, *((name, pa.int64()) for name in view.features)]),
        )

    def materialize(self) -> None:
        """Brings the online store up to what is published."""
        materialize(self.project, self.settings)

    @property
    def now(self) -> int:
        return (self.clock - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)

    def answer(
        self, *sales: Sale, release: str = RELEASE, slot: str = "blue", traced: bool = True
    ) -> NDArray[np.float64]:
        """Answers a request of these rows as a slot does, and keeps what it would log; the vectors."""
        store = self.store
        payload = {
            "transaction_id": np.array([sale.id for sale in sales], dtype=np.object_),
            "event_time": np.array([sale.us for sale in sales], dtype=np.int64),
            "customer_id": np.array([sale.customer for sale in sales], dtype=np.object_),
            "terminal_id": np.array([sale.terminal for sale in sales], dtype=np.object_),
            "amount_cents": np.array([sale.cents for sale in sales], dtype=np.int64),
        }
        found = store.look_up(payload, [sale.id for sale in sales], [sale.us for sale in sales], now_us=self.now)
        store.close()
        vectors = hook(self.project, "features").request(payload, online(self.project, found.values, found.found))
        for sale, vector, read in zip(sales, vectors.tolist(), found.provenance, strict=True):
            self.log(sale, vector, read if traced else None, release=release, slot=slot)
        self.clock += timedelta(minutes=1)
        return vectors

    def log(self, sale: Sale, vector: list[float], read: Any, *, release: str = RELEASE, slot: str = "blue",
            degraded: bool = False) -> None:  # fmt: skip
        """Keeps one record."""
        entities = {"customer_id": sale.customer, "terminal_id": sale.terminal}
        self.records.append({
            "request_id": f"q-{len(self.records):06d}", "event_id": sale.id,
            "event_time": sale.at.isoformat().replace("+00:00", "Z"), "served_at": self.clock.isoformat().replace("+00:00", "Z"),
            "release": release, "slot": slot, "score": 0.5, "decision": "approve", "degraded": degraded,
            "entities": json.dumps(entities), "payload": json.dumps(sale.payload()),
            "vector": json.dumps([None if np.isnan(one) else one for one in vector]),
            **({"provenance": json.dumps(read)} if read is not None else {}),
        })  # fmt: skip

    def sold(self, day: date) -> list[Sale]:
        """The sales that are published of a day."""
        return [
            Sale(
                row["event_id"],
                row["event_time"],
                row["customer_id"],
                row["terminal_id"],
                row["amount_cents"],
                row["label"],
            )
            for row in self._spine(day)
        ]

    def forget(self, view: str, customer: str) -> None:
        """Deletes a key of a view from the online store's file."""
        (path,) = (self.settings.home / "online").glob("*.sqlite")
        with closing(sqlite3.connect(path)) as connection, connection:
            gone = connection.execute("delete from online where name = ?", (f"{view}:{customer}",)).rowcount
        assert gone == 1

    def perturb(self, number: int, place: int, value: float) -> None:
        """Changes one number of a kept vector."""
        vector = json.loads(self.records[number]["vector"])
        assert vector[place] != value
        vector[place] = value
        self.records[number]["vector"] = json.dumps(vector)

    def replay(self, scratch: Path, condition: str = "true") -> Replayed:
        """What is ingested, replayed."""
        self.ingest()
        folder = self.lake.raw(self.project.name, "predictions", DAY).parent
        published = [current(path) for path in sorted(folder.glob("batch=*"))]
        with duckdb.connect() as connection:
            log = Log(connection, self.project, [path for one in published if one for path in one.paths()])
            found = replay(log, self.lake, condition, scratch)
        assert found is not None
        return found

    def ingest(self) -> None:
        """Lands what was kept since the last time, a file an event day, and ingests it."""
        fresh, self.ingested = self.records[self.ingested :], len(self.records)
        for day in sorted({record["event_time"][:10] for record in fresh}):
            lines = [json.dumps(record) + "\n" for record in fresh if record["event_time"].startswith(day)]
            land(self.lake, self.project, date.fromisoformat(day), "".join(lines).encode())
            result = ingest.run(self.project, self.settings, batches=Batches.parse(day), source=PREDICTIONS.name)
            assert result.exit_code == 0, result.line

    def _publish(self, partition: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
        """Publishes rows at the present of this shop, which then is a minute later."""

        def write(folder: Path) -> int:
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / "part-00000.parquet")
            return len(rows)

        publish(partition, write, inputs={"at": self.clock.isoformat()}, watermark="2026")
        now = current(partition)
        assert now is not None
        for path in (partition / POINTER, now.folder / MANIFEST):
            os.utime(path, (self.clock.timestamp(), self.clock.timestamp()))
            if at := mirror.remote(path):
                at[0].put(at[1], path.read_bytes(), written_ns=path.stat().st_mtime_ns)
        self.clock += timedelta(minutes=1)

    def _spine(self, day: date) -> list[dict[str, Any]]:
        published = current(self.lake.spine(self.project.name, day))
        return pq.read_table(published.paths()[0]).to_pylist() if published else []


def land(lake: Lake, project: Project, day: date, data: bytes, name: str = "blue") -> Path:
    """Puts a file of records where a slot lands it."""
    folder = lake.landing(project.name, PREDICTIONS.name, day)
    path = folder / f"{hashlib.sha256(data).hexdigest()[:16]}-{name}-{day}-{len(mirror.names(folder))}.jsonl"
    mirror.write(path, data)
    return path


_INSTANT = pa.timestamp("us", "UTC")
_SPINE = pa.schema([
    ("event_id", pa.string()), ("event_time", _INSTANT), ("customer_id", pa.string()), ("terminal_id", pa.string()),
    ("amount_cents", pa.int64()), ("label", pa.bool_()), ("label_time", _INSTANT),
])  # fmt: skip
_RAW = pa.schema([("transaction_id", pa.string())])
