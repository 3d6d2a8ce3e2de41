"""What an installation on AWS needs, costs a month, and what breaks first: `python -m infra.capacity`.

Prices are us-east-1's list prices of 2026 in millionths of a dollar. Loads follow from events a day alone; each
assumption has a name here, so that yours can be put in its place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import ceil
from pathlib import Path

DAYS, HOURS, SECONDS = 30, 720, 2_592_000
PAGE = Path(__file__).resolve().parents[1] / "docs" / "cloud.md"

PEAK = 3
"""The busiest second of a day against its average one."""
REQUESTS_PER_PROCESSOR = 1_300
"""Scored events a second a vCPU at 100 %: docs/performance.md's 2,900 a core, and a vCPU is half a core; rounded down."""
BUSY_PERCENT = 55
"""Where slots are kept by autoscaling."""
KEYS = 2
"""Entities an event belongs to, each with a live state."""
STATE_KB = 2
"""A live state, rounded up as DynamoDB does: 1 kB a write unit, 4 kB a consistent read."""
VIEWS = 2
"""Batch values read with an event."""
BYTES_PER_EVENT = 1_000
"""In all zones of the lake, compressed, with the prediction log."""
LOG_BYTES_PER_EVENT = 2
"""In CloudWatch: stages say a line, slots nothing for a request."""
SPARK_SECONDS_PER_MILLION = 60
"""vCPU-seconds of Spark a million events, through etl and features."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """One installation and its load; everything else is worked out."""

    title: str
    events_per_day: int
    zones: int
    slot_processors: int
    database: str
    database_hour: int
    database_gb: int
    database_gb_month: int
    projects: int = 1
    large_hours: int = 4
    """Hours a month that trainings take a large task."""

    @property
    def events(self) -> int:
        """Events a month."""
        return self.events_per_day * DAYS

    @property
    def peak(self) -> int:
        """Events in the busiest second."""
        return ceil(self.events_per_day * PEAK / 86_400)

    @property
    def slots(self) -> int:
        """Tasks of the slot that has the traffic, at the average load; two at least where there are three zones."""
        capacity = REQUESTS_PER_PROCESSOR * self.slot_processors * BUSY_PERCENT // 100
        return max(2 if self.zones > 2 else 1, ceil(self.events_per_day / 86_400 / capacity)) * self.projects

    @property
    def routers(self) -> int:
        """Routers of one vCPU, 8,000 requests a second each at half load."""
        return max(2, ceil(self.events_per_day / 86_400 / 8_000))

    @property
    def write_units(self) -> int:
        """DynamoDB write units an event."""
        return KEYS * STATE_KB

    @property
    def read_units(self) -> int:
        """DynamoDB read units an event."""
        return KEYS * ceil(STATE_KB / 4) + VIEWS


SIZES = (
    Size(
        title="laptop-sized: 100 thousand events a day", events_per_day=100_000, zones=2, slot_processors=1,
        database="db.t4g.small", database_hour=32_000, database_gb=20, database_gb_month=115_000,
    ),
    Size(
        title="1 million events a day", events_per_day=1_000_000, zones=3, slot_processors=2,
        database="db.m7g.large, two zones", database_hour=336_000, database_gb=100, database_gb_month=230_000,
        large_hours=20,
    ),
    Size(
        title="1 billion events a day", events_per_day=1_000_000_000, zones=3, slot_processors=2,
        database="db.m7g.2xlarge, two zones", database_hour=1_344_000, database_gb=500, database_gb_month=230_000,
        large_hours=200,
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a bill: so many, at so much for each `per`."""

    what: str
    quantity: int
    unit: str
    micros: int
    per: int = 1

    @property
    def cents(self) -> int:
        """What it costs, in cents, rounded up."""
        return -(-self.quantity * self.micros // (self.per * 10_000))

    @property
    def arithmetic(self) -> str:
        price = f"{self.micros / 1_000_000:.6f}".rstrip("0").rstrip(".")
        each = self.unit if self.per == 1 else f"{self.per:,} {self.unit}"
        return f"{self.quantity:,} {self.unit} × ${price} / {each}"


def bill(size: Size) -> tuple[Line, ...]:
    """Every line of a month's bill, the largest first."""
    services = ((1024, 3072), (1024, 4096), (512, 2048), (512, 2048), (1024, 3072))  # Airflow's four, and MLflow
    processors = 1024 * (size.slots * size.slot_processors + size.routers) + sum(cpu for cpu, _ in services)
    memory = 2048 * (size.slots * size.slot_processors + size.routers) + sum(mib for _, mib in services)
    gigabytes = size.events * BYTES_PER_EVENT // 10**9
    lines = (
        Line(what="containers, processors", quantity=processors * HOURS // 1024, unit="vCPU-hours", micros=40_480),
        Line(what="containers, memory", quantity=memory * HOURS // 1024, unit="GB-hours", micros=4_445),
        Line(what="stages, small tasks", quantity=2 * DAYS * size.projects, unit="task-hours", micros=58_260),
        Line(what="trainings, large tasks", quantity=size.large_hours, unit="task-hours", micros=932_160),
        Line(
            what="Spark",
            quantity=size.events * SPARK_SECONDS_PER_MILLION // 3_600_000_000 + 2 * DAYS * size.projects,
            unit="vCPU-hours",
            micros=75_738,
        ),
        Line(what=f"PostgreSQL, {size.database}", quantity=HOURS, unit="hours", micros=size.database_hour),
        Line(what="PostgreSQL, disk", quantity=size.database_gb, unit="GB-months", micros=size.database_gb_month),
        Line(
            what="online store, writes",
            quantity=size.events * size.write_units,
            unit="units",
            micros=625_000,
            per=10**6,
        ),
        Line(
            what="online store, reads", quantity=size.events * size.read_units, unit="units", micros=125_000, per=10**6
        ),
        Line(what="lake, a year of it", quantity=12 * gigabytes, unit="GB-months", micros=8_750),
        Line(what="lake, requests", quantity=500_000 + size.events // 500, unit="writes", micros=5_000, per=1_000),
        Line(
            what="endpoints inside the network",
            quantity=10 * size.zones * HOURS,
            unit="endpoint-hours",
            micros=10_000,
        ),
        Line(what="load balancer", quantity=HOURS, unit="hours", micros=22_500),
        Line(
            what="load balancer, capacity",
            quantity=HOURS * max(1, ceil(size.events_per_day / 86_400 * 3_000 * 3_600 / 10**9)),
            unit="unit-hours",
            micros=8_000,
        ),
        Line(what="firewall", quantity=size.events, unit="requests", micros=600_000, per=10**6),
        Line(what="firewall, rules", quantity=8, unit="dollars", micros=1_000_000),
        Line(
            what="logs",
            quantity=5 + size.events * LOG_BYTES_PER_EVENT // 10**9,
            unit="GB",
            micros=530_000,
        ),
        Line(what="keys", quantity=5, unit="keys", micros=1_000_000),
        Line(what="secrets", quantity=18, unit="secrets", micros=400_000),
        Line(what="alarms", quantity=10 + 2 * size.projects, unit="alarms", micros=100_000),
    )
    return tuple(sorted(lines, key=lambda line: -line.cents))


def total(size: Size) -> int:
    """A month's bill in cents."""
    return sum(line.cents for line in bill(size))


@dataclass(frozen=True, kw_only=True)
class Bound:
    """One thing that can be too small: the load in the busiest second against what it takes."""

    what: str
    load: int
    limit: int
    then: str

    @property
    def percent(self) -> int:
        return 100 * self.load // self.limit


def bounds(size: Size) -> tuple[Bound, ...]:
    """Everything that has a limit, the nearest to it first."""
    hottest = max(1, size.peak // 1_000)
    found = (
        Bound(
            what="one key of the online store, writes a second",
            load=hottest * STATE_KB,
            limit=1_000,
            then="give the view a `hop`, or split the key: no bound can be raised",
        ),
        Bound(
            what="the online store, write units a second",
            load=size.peak * size.write_units,
            limit=40_000,
            then="raise `online_store_units` and the account's quota for a table",
        ),
        Bound(
            what="the online store, read units a second",
            load=size.peak * size.read_units,
            limit=40_000,
            then="the same",
        ),
        Bound(
            what="slots of a project",
            load=ceil(size.peak / (REQUESTS_PER_PROCESSOR * size.slot_processors)),
            limit=40,
            then="raise `slot.maximum`, and Fargate's quota of vCPUs (4,000 where it was raised once)",
        ),
        Bound(
            what="routers",
            load=ceil(size.peak / 16_000),
            limit=10,
            then="raise `routers.maximum`; the load balancer takes on more by itself",
        ),
        Bound(
            what="Spark, vCPUs for a day's batch within two hours",
            load=size.events_per_day * SPARK_SECONDS_PER_MILLION // 10**6 // 7_200,
            limit=200,
            then="raise `spark.max_cpu` and the account's quota",
        ),
        Bound(
            what="training on one machine, thousand rows of 90 days",
            load=size.events_per_day * 90 // 1_000,
            limit=20_000,
            then="`TIDEMILL_TRAINING_MAX_ROWS_LOCAL`: tuned on a sample, learned whole by XGBoost on Spark",
        ),
        Bound(
            what="the prediction log, objects a second under one prefix",
            load=size.slots // 10 + 1,
            limit=3_500,
            then="longer log files",
        ),
    )
    return tuple(sorted(found, key=lambda bound: -bound.percent))


def tables() -> str:
    """The tables of docs/cloud.md: each size's bill with its arithmetic, and what it breaks first."""
    parts = []
    for size in SIZES:
        parts += [
            f"### {size.title}",
            "",
            f"{size.peak:,} events in the busiest second; {size.slots} slot tasks of {size.slot_processors} vCPU at the "
            f"average, {size.routers} routers. **${total(size) // 100:,} a month**, "
            f"${total(size) * 10**6 / 100 / size.events:,.2f} a million events.",
            "",
            "| what | arithmetic | $ a month |",
            "|---|---|---:|",
            *(f"| {line.what} | {line.arithmetic} | {line.cents / 100:,.2f} |" for line in bill(size)),
            "",
            "| what breaks, first to last | load | limit | % | then |",
            "|---|---:|---:|---:|---|",
            *(f"| {one.what} | {one.load:,} | {one.limit:,} | {one.percent:,} | {one.then} |" for one in bounds(size)),
            "",
        ]
    return "\n".join(parts)


def with_tables(text: str) -> str:
    """A page with the tables between its markers brought up to date."""
    return re.sub(
        r"(<!-- capacity -->\n).*?(<!-- capacity end -->)",
        lambda found: f"{found[1]}{tables()}\n{found[2]}",
        text,
        flags=re.S,
    )


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
    print(tables())
