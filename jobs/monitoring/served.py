"""What is compared: the model inputs and scores of a few days, beside the champion's reference."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from jobs.errors import DataRejected
from jobs.lake import Lake
from jobs.monitoring.drift import SCORE
from jobs.monitoring.labels import Inputs, days, load_served, predictions, published
from jobs.release.bundle import read_manifest, verify_bundle
from jobs.release.ledger import Champion
from jobs.release.probability import score_of
from jobs.spec import Project

if TYPE_CHECKING:
    import pandas as pd

REFERENCE = "reference.parquet"
_COLUMNS = ("event_time", "release", SCORE, "vector")


@dataclass(frozen=True, kw_only=True)
class Window:
    """The days' events, and where their inputs come from: the prediction log, or the feature store without one."""

    lake: Lake
    project: Project
    champion: Champion
    inputs: Inputs
    source: str
    columns: tuple[str, ...]
    flags: int = 0
    """How many of the last columns are numbers of flags, in which no distance means anything."""

    @property
    def watched(self) -> tuple[str, ...]:
        """The columns that are compared."""
        return self.columns[: len(self.columns) - self.flags]

    @property
    def digests(self) -> dict[str, str]:
        return {"source": self.source, **self.inputs.digests}

    @property
    def watermark(self) -> str:
        return self.inputs.watermark

    def frames(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The reference and the current rows: event_time, the inputs, score; raises TamperedError or DataRejected."""
        import pandas as pd
        import pyarrow.parquet as pq

        folder = self.lake.release(self.project.name, self.champion.release)
        manifest = verify_bundle(folder, self.champion.digest, probe=False)
        reference = pq.ParquetFile(folder / REFERENCE).read().to_pandas()
        reference["event_time"] = pd.to_datetime(reference["event_time"], utc=True)
        return reference, self._logged() if self.source == "predictions" else self._offline(manifest)

    def _logged(self) -> pd.DataFrame:
        import duckdb

        _require_log(self.inputs)
        with duckdb.connect() as connection:
            load_served(connection, self.inputs)
            log = connection.sql(
                "SELECT event_time, release, score, vector FROM served WHERE beside IS NULL ORDER BY event_time, event_id"
            )
            rows = log.to_arrow_table().to_pylist()
        return _unpacked(rows, self.columns, self.champion.release)

    def _offline(self, manifest: dict[str, Any]) -> pd.DataFrame:
        import pandas as pd
        import pyarrow as pa
        import pyarrow.parquet as pq

        from jobs.features import vectors
        from jobs.release.scorer import Scorer

        files = [path for one in self.inputs.spines for path in one.paths()]
        events = pa.concat_tables([pq.ParquetFile(path).read() for path in files])
        matrix, _ = vectors.offline(self.project, self.lake, events)
        if matrix.shape[1] != len(self.columns):
            raise DataRejected(
                f"features.request gives {matrix.shape[1]} columns, release {self.champion.release} takes "
                f"{len(self.columns)}; no verdict was published. Train and roll out a release with the present inputs"
            )
        frame = pd.DataFrame(matrix, columns=list(self.columns))
        frame.insert(0, "event_time", pd.to_datetime(events.column("event_time").to_pandas(), utc=True))
        folder = self.lake.release(self.project.name, self.champion.release)
        frame[SCORE] = score_of(Scorer.load(folder, manifest).score(matrix))
        return frame


def find(lake: Lake, project: Project, champion: Champion, first: date, last: date) -> Window | None:
    """The window of these event days: what was served when that is enough to judge, else the feature store's events.

    None when there is neither.
    """
    manifest = read_manifest(lake.release(project.name, champion.release), champion.digest)
    logged = Inputs(predictions=predictions(lake, project, first, last, last), spines=(), first=first, last=last)
    spines = published(lake.spine(project.name, day) for day in days(first, last))
    stored = Inputs(predictions=(), spines=spines, first=first, last=last)
    count = sum(one.manifest.rows for one in logged.predictions)
    use_log = bool(logged.predictions) and (count >= project.drift.minimum_rows or not stored.spines)
    if not use_log and not stored.spines:
        return None
    return Window(
        lake=lake,
        project=project,
        champion=champion,
        inputs=logged if use_log else stored,
        source="predictions" if use_log else "features",
        columns=tuple(manifest["models"][-1]["inputs"]),
        flags=int(manifest["models"][-1].get("flags", 0)),
    )


def _require_log(inputs: Inputs) -> None:
    import pyarrow.parquet as pq

    for one in inputs.predictions:
        for path in one.paths():
            absent = [name for name in _COLUMNS if name not in pq.read_schema(path).names]
            if absent:
                raise DataRejected(
                    f"{path} lacks the column {absent[0]!r} of the prediction log; no verdict was published. "
                    f"Ingest it again: `tidemill ingest --source predictions --batch {one.partition.name[6:]} --force`"
                )


def _unpacked(rows: list[dict[str, Any]], columns: tuple[str, ...], release: str) -> pd.DataFrame:
    """The rows with a column for each input; those that another release served with other inputs are left out."""
    import pandas as pd

    kept: list[tuple[Any, ...]] = []
    for row in rows:
        vector = [math.nan if one is None else one for one in json.loads(row["vector"])]
        if len(vector) == len(columns):
            kept.append((row["event_time"], *vector, row[SCORE]))
        elif row["release"] == release:
            raise DataRejected(
                f"release {release} logged {len(vector)} inputs at {row['event_time']}, where it declares "
                f"{len(columns)} ({columns[0]} … {columns[-1]}); no verdict was published. Check the serving slots' code"
            )
    frame = pd.DataFrame(kept, columns=["event_time", *columns, SCORE])
    frame["event_time"] = pd.to_datetime(frame["event_time"], utc=True)
    return frame
