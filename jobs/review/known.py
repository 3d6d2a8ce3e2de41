"""What is known of a day's answers and verdicts: read from the ingested prediction log and the source of verdicts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from jobs import mirror
from jobs.errors import UsageError
from jobs.lake import Lake
from jobs.monitoring.labels import Inputs, load_served, predictions, published
from jobs.review.agreement import Verdict
from jobs.review.choice import Answer
from jobs.spec import Project, Review, Source


@dataclass(frozen=True, kw_only=True)
class Answered:
    """One answered event: what the choice needs, and what a reviewer is shown."""

    answer: Answer
    score: float
    payload: Mapping[str, Any]


def policy_of(project: Project) -> Review:
    """The project's review; raises UsageError where it declares none."""
    if project.review is None:
        raise UsageError(f"project {project.name!r} declares no review; add `review=Review(…)` to its spec")
    return project.review


def answered(project: Project, lake: Lake, day: date) -> list[Answered]:
    """The last answer about every event of a day, in the order of their ids; degraded ones are looked at as well."""
    import duckdb

    inputs = Inputs(predictions=predictions(lake, project, day, day, date.max), spines=(), first=day, last=day)
    if not inputs.predictions:
        return []
    with duckdb.connect() as connection:
        load_served(connection, inputs)
        rows = connection.sql("SELECT * FROM served ORDER BY event_id").to_arrow_table().to_pylist()
    return [
        Answered(
            answer=Answer(
                event_id=row["event_id"],
                decision=row["decision"],
                probabilities=_probabilities(row),
            ),
            score=row["score"],
            payload=json.loads(row["payload"]),
        )
        for row in rows
    ]


def verdicts(project: Project, lake: Lake) -> list[tuple[datetime, Verdict]]:
    """Every ingested verdict with its time, oldest first."""
    import pyarrow.parquet as pq

    source, item = verdicts_of(project), project.sources[0].event_id
    folder = lake.raw(project.name, source.name, date.min).parent
    files = [path for one in published(mirror.partitions(folder)) for path in one.paths()]
    names = [source.event_time, item, "reviewer_id", "verdict"]
    found: list[tuple[datetime, Verdict]] = []
    for path in files:
        columns = pq.read_table(path, columns=names, partitioning=None)
        for at, *said in zip(*(columns.column(name).to_pylist() for name in names), strict=True):
            found.append((at.astimezone(UTC), Verdict(*map(str, said))))
    return sorted(found)


def verdicts_of(project: Project) -> Source:
    """The source of the project's verdicts."""
    return project.source(policy_of(project).verdicts)


def reviewers_of(given: Sequence[tuple[datetime, Verdict]]) -> dict[str, list[str]]:
    """Who judged each item."""
    found: dict[str, list[str]] = {}
    for _, one in given:
        found.setdefault(one.item, []).append(one.reviewer)
    return found


def said_by(project: Project) -> tuple[str, ...]:
    """What a verdict may be: the classes of the project's model, or of a yes or no `true` and `false`."""
    return project.models[-1].classes or ("false", "true")


def _probabilities(row: Mapping[str, Any]) -> tuple[float, ...]:
    told = row.get("classes")
    return tuple(json.loads(told)[:-1]) if told else (1 - row["score"], row["score"])
