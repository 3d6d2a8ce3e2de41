"""Interleaved lists and what became of them: read from the log and the label table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jobs.experiment.arms import Sources
from jobs.experiment.interleaving import preferences
from jobs.monitoring.labels import read_labels
from jobs.spec import Project

if TYPE_CHECKING:
    import pyarrow as pa

_SERVED = """
    SELECT count(DISTINCT json_extract_string(payload, ?))
    FROM read_parquet(?, hive_partitioning = false, union_by_name = true)
    WHERE served_at >= ? AND release IN (?, ?) AND beside IN (?, ?)
"""
_DAY = 86_400_000_000


@dataclass(frozen=True, kw_only=True)
class Lists:
    """Lists that two releases made together, a value of each array a list."""

    preference: NDArray[np.int64]
    """1 where the candidate's choices are preferred, -1 where the stable release's are, 0 where neither's."""
    known: NDArray[np.int64]
    """When the last of its labels was known for certain, in days since 1970."""
    broken: int = 0
    """Those whose labelled rows are not half and half: some are lost, and they are in neither array."""
    served: int = 0
    """Those in the log, labelled or not."""

    def by(self, day: int) -> Lists:
        """Those whose labels were known by the end of a day."""
        rows = self.known <= day
        return Lists(preference=self.preference[rows], known=self.known[rows])


def lists(project: Project, sources: Sources, *, candidate: str, stable: str, since: datetime) -> Lists:
    """Every list that these two releases made together since a moment, as far as its labels are known."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from jobs.training.frame import codes_of

    served, both = _served(project, sources, candidate, stable, since), pa.array([candidate, stable])
    if not sources.labels:
        return _none(served)
    table = read_labels(sources.labels, since, interleaved=True)
    table = table.filter(pc.and_(pc.is_in(table["release"], both), pc.is_in(table["beside"], both)))
    if not len(table):
        return _none(served)
    codes, mine = codes_of(table["group_id"]), pc.equal(table["release"], candidate).to_numpy()
    apart = np.bincount(codes, weights=np.where(mine, 1, -1))
    whole, known = np.abs(apart) <= 1, np.zeros(len(apart), dtype=np.int64)
    np.maximum.at(known, codes, _days(table))
    chosen = pc.not_equal(table["release"], table["beside"]).to_numpy()
    found = preferences(codes, mine, _clicked(table) & chosen)
    return Lists(preference=found[whole], known=known[whole], broken=int((~whole).sum()), served=served)


def decided_per_day(table: pa.Table, share: float) -> float:
    """How many lists a day would have a preference at most, if this share of the labelled ones were interleaved.

    Clicks where both releases agree count for neither, and how often that is nobody knows before. A list with an odd number of clicks has one; of one with an even number k, C(k, k / 2) / 2^k of the ways in which two
    equal releases chose what was clicked are ties.
    """
    from math import comb

    from jobs.training.frame import codes_of

    if not len(table) or table["group_id"].null_count:
        return 0.0
    counts = np.bincount(np.bincount(codes_of(table["group_id"]), weights=_clicked(table)).astype(np.int64))
    some = sum(
        count * (1.0 if clicks % 2 else 1 - comb(clicks, clicks // 2) / 2**clicks)
        for clicks, count in enumerate(counts.tolist())
        if clicks
    )
    return float(share * some / len(np.unique(_days(table))))


def _none(served: int) -> Lists:
    nothing = np.zeros(0, dtype=np.int64)
    return Lists(preference=nothing, known=nothing, served=served)


def _served(project: Project, sources: Sources, candidate: str, stable: str, since: datetime) -> int:
    import duckdb
    import pyarrow.parquet as pq

    files = [path for one in sources.predictions for path in one.paths()]
    files = [path for path in files if "beside" in pq.read_schema(path).names]
    if not files:
        return 0
    both = (candidate, stable)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        asked = [f'$."{project.models[-1].group}"', files, since, *both, *both]
        return int(connection.execute(_SERVED, asked).fetchall()[0][0])


def _clicked(table: pa.Table) -> NDArray[np.bool_]:
    import pyarrow as pa

    return np.asarray(table["label"].cast(pa.int64()).to_numpy() > 0, dtype=np.bool_)


def _days(table: pa.Table) -> NDArray[np.int64]:
    """When each row's label was known for certain, in days since 1970."""
    import pyarrow as pa

    certain = table["label_time"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    return np.asarray((certain - 1) // _DAY, dtype=np.int64)
