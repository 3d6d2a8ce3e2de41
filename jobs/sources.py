"""What a model project is fed with: its sources and their columns, the prediction log among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ColumnType = Literal["string", "integer", "number", "boolean", "timestamp"]
Format = Literal["csv", "jsonl", "parquet"]


@dataclass(frozen=True, kw_only=True)
class Alias:
    """Another producer's name for a column."""

    name: str
    multiply: int = 1
    """What one delivered unit is in ours: 100 where they write 12.34 and we keep 1234 cents."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a source, as it is kept after ingest."""

    name: str
    type: ColumnType
    nullable: bool = False
    aliases: tuple[Alias, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    """Of a number; of a text in a request the most characters, 200 without one."""
    personal: bool = False
    """Identifies a person: masked in logs and reports."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A feed of events that a producer delivers as files, one delivery a UTC day or more."""

    name: str
    columns: tuple[Column, ...]
    event_id: str
    event_time: str
    lateness_days: int = 3
    """How many days after its own day an event may still arrive; later ones are quarantined."""
    time_zone: str = "UTC"
    """How a timestamp without an offset is read."""
    formats: tuple[Format, ...] = ("csv", "jsonl", "parquet")
    required: bool = True
    """A day without a delivery is waited for; one that is not required may be absent."""


PREDICTIONS = Source(
    name="predictions",
    columns=(
        Column(name="request_id", type="string"),
        Column(name="event_id", type="string"),
        Column(name="event_time", type="timestamp"),
        Column(name="served_at", type="timestamp"),
        Column(name="release", type="string"),
        Column(name="slot", type="string"),
        Column(name="score", type="number", minimum=0, maximum=1),
        Column(name="decision", type="string"),
        Column(name="degraded", type="boolean"),
        Column(name="entities", type="string", personal=True),
        Column(name="payload", type="string", personal=True),
        Column(name="vector", type="string"),
        Column(name="provenance", type="string", nullable=True),
        Column(name="degraded_by", type="string", nullable=True),
        Column(name="classes", type="string", nullable=True),
        Column(name="beside", type="string", nullable=True),
    ),
    event_id="request_id",
    event_time="event_time",
    lateness_days=30,
    formats=("jsonl",),
    required=False,
)
"""The prediction log, which every served project has: a source like any other.

`entities`, `payload`, `vector` and `provenance` are JSON texts: the entity keys, the request as it
was validated, the exact model inputs in the order the model declares, and for each view what its
values were read from: `{"schema", "available_at"}` of a batch view (microseconds, null where
nothing was found), `{"schema", "events", "checksum"}` of a live one. `degraded_by` are the causes,
separated by blanks, for which an answer is `degraded`. `classes`, of a multi-class model, is the
JSON list of the probability of each class and the place of the class that the row was said to be of.
`beside`, of a list in which two releases chose in turn, is the other one, and `release` the one that chose this row; in
the part that both would have begun the list with, where nobody chose, it is `release` once more.
"""
