"""Who was answered by which side of an experiment, and what became of it: read from the log and the label table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs import mirror
from jobs.experiment.design import Baseline
from jobs.experiment.measures import Outcomes, sample
from jobs.experiment.reading import Arms, Assignment
from jobs.lake import Lake
from jobs.monitoring.labels import label_batches, published, read_labels
from jobs.spec import PREDICTIONS, Metric, Project
from jobs.storage import Published

if TYPE_CHECKING:
    import pyarrow as pa

_ASKED = """
    CREATE TEMP TABLE asked AS
    SELECT json_extract_string(entities, ?) AS entity, release, count(DISTINCT request_id) AS requests
    FROM read_parquet(?, hive_partitioning = false, union_by_name = true)
    WHERE served_at >= ? AND release IN (?, ?)
    GROUP BY ALL
"""
_CROSSED = "SELECT entity FROM asked WHERE entity IS NOT NULL GROUP BY entity HAVING count(*) > 1"


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The published partitions that a reading is made from."""

    predictions: tuple[Published, ...]
    labels: tuple[Published, ...]

    @classmethod
    def of(cls, lake: Lake, project: Project) -> Sources:
        """Every delivery of the prediction log, and the label table."""
        folder = lake.raw(project.name, PREDICTIONS.name, date.min).parent
        return cls(predictions=published(mirror.partitions(folder)), labels=label_batches(lake, project))

    @property
    def digests(self) -> dict[str, str]:
        """What a reading depends on, by names a person recognises."""
        both = (*self.predictions, *self.labels)
        return {f"{one.partition.parent.name}/{one.partition.name}": one.digest for one in both}

    @property
    def watermark(self) -> str:
        """The newest batch of the label table."""
        return max((one.partition.name.removeprefix("batch=") for one in self.labels), default="")


def arms(project: Project, sources: Sources, *, candidate: str, stable: str, since: datetime) -> Arms:
    """Both releases' entities and labelled events since a moment; entities that both answered are counted only."""
    import duckdb

    files = [path for one in sources.predictions for path in one.paths()]
    nobody = Assignment(candidate=0, stable=0, crossed=0)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        if not files:
            return Arms(assignment=nobody, candidate=_outcomes(project, None), stable=_outcomes(project, None))
        connection.execute(_ASKED, [f"$.{project.entity}", files, since, candidate, stable])
        counted: dict[Any, Any] = dict(
            connection.execute(
                f"SELECT release, count(*) FROM asked WHERE entity NOT IN ({_CROSSED}) GROUP BY release"  # noqa: S608
            ).fetchall()
        )
        crossed, requests = connection.execute(
            f"SELECT (SELECT count(*) FROM ({_CROSSED})), (SELECT coalesce(sum(requests), 0) FROM asked)"  # noqa: S608
        ).fetchall()[0]
        seen = Assignment(
            candidate=counted.get(candidate, 0), stable=counted.get(stable, 0), crossed=crossed, requests=int(requests)
        )
        sides = {}
        if sources.labels:
            connection.register("labelled", read_labels(sources.labels, since))
        for name in (candidate, stable):
            query = f"SELECT * FROM labelled WHERE release = ? AND entity::VARCHAR NOT IN ({_CROSSED})"  # noqa: S608
            sides[name] = connection.sql(query, params=[name]).to_arrow_table() if sources.labels else None
    return Arms(
        assignment=seen, candidate=_outcomes(project, sides[candidate]), stable=_outcomes(project, sides[stable])
    )


def served(sources: Sources, release: str, since: datetime) -> int:
    """How many predictions of a release the ingested log holds since a moment, labelled or not."""
    import duckdb

    files = [path for one in sources.predictions for path in one.paths()]
    if not files:
        return 0
    query = (
        "SELECT count(DISTINCT request_id) FROM read_parquet(?, hive_partitioning = false, union_by_name = true) "
        "WHERE served_at >= ? AND release = ?"
    )
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return int(connection.execute(query, [files, since, release]).fetchall()[0][0])


def sides_of(project: Project, labels: pa.Table, releases: Iterable[str]) -> list[Outcomes]:
    """The outcomes of each of these releases in the label table."""
    import pyarrow.compute as pc

    return [_outcomes(project, labels.filter(pc.equal(labels.column("release"), release))) for release in releases]


def baseline(project: Project, labels: pa.Table, release: str, metric: Metric) -> Baseline:
    """What a metric of a release was on the label table, and how many events a day it was about."""
    mine, every = sides_of(project, labels, [release])[0], _outcomes(project, labels)
    found, days = sample(metric, mine), len(np.unique(every.known))
    per_day = sample(metric, every).count / days if days else 0.0
    return Baseline(mean=found.mean, variance=found.variance, per_day=per_day)


def _outcomes(project: Project, rows: pa.Table | None) -> Outcomes:
    import pyarrow as pa

    if rows is None or not rows.num_rows:
        none = np.array([])
        return Outcomes(
            entity=none.astype(np.int64), score=none, label=none.astype(np.bool_), acted=none.astype(np.bool_),
            degraded=none.astype(np.bool_), known=none.astype(np.int64),
        )  # fmt: skip
    from jobs.training.frame import codes_of

    certain = rows.column("label_time").cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    return Outcomes(
        entity=codes_of(rows.column("entity")),
        score=np.asarray(rows.column("score").to_numpy(), dtype=np.float64),
        label=np.asarray(rows.column("label").to_numpy(), dtype=np.bool_),
        acted=np.asarray(rows.column("decision").to_numpy()) != project.models[-1].passed,
        degraded=np.asarray(rows.column("degraded").to_numpy(), dtype=np.bool_),
        known=(certain - 1) // 86_400_000_000,
    )
