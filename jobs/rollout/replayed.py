"""What a candidate served, computed once more from lake and logs while its records are still on their way there."""

from __future__ import annotations

import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from jobs import mirror
from jobs.errors import TidemillError
from jobs.features import vectors
from jobs.lake import Lake
from jobs.rollout.machine import Rollout
from jobs.rollout.observed import Replayed
from jobs.rollout.records import SEGMENT, files, lines
from jobs.settings import Settings
from jobs.spec import PREDICTIONS, Project
from jobs.storage import current

VECTORS = 20_000
"""Of how many of its answers at most: a fixed sample of more."""
SETTLED, LANDED = timedelta(seconds=2), timedelta(seconds=10)
"""Only answers this old are asked about: by then every slot of this machine has written the records of all earlier
ones, and every slot elsewhere has landed them: it begins another file every 2 to 4 seconds."""


def replayed(project: Project, settings: Settings, rollout: Rollout) -> Replayed:
    """How many of the candidate's own vectors are what the lake says, with the events that every slot has scored.

    What cannot be read is no measurement, and its detail says why.
    """
    import duckdb

    try:
        with tempfile.TemporaryDirectory(prefix="tidemill-replay-") as scratch:
            return _replayed(project, settings, rollout, Path(scratch))
    except (TidemillError, OSError, duckdb.Error) as error:
        return Replayed(vectors=None, identical=None, unexplained=None, detail=f"it could not be replayed: {error}")


def _replayed(project: Project, settings: Settings, rollout: Rollout, scratch: Path) -> Replayed:
    import duckdb

    from jobs.features.replay.compare import replay
    from jobs.features.replay.log import Log, text
    from jobs.features.replay.outcome import outcome

    until = datetime.now(UTC) - (SETTLED if settings.routing == "local" else LANDED)
    records = _Records(project, settings)
    mine = records.days(rollout.slot, datetime.fromisoformat(rollout.started_at))
    if not mine:
        return Replayed(vectors=0, identical=0, unexplained=0, detail="it has logged no prediction")
    reach = [vectors.event_days(view, mine[0], mine[-1])[0] for view in project.live_views]
    ingested, landed = records.files(min([mine[0], *reach]), mine[-1], scratch)
    condition = (
        f"release = {text(rollout.release)} AND slot = {text(rollout.slot)} "
        f"AND served_at >= TIMESTAMPTZ {text(rollout.started_at)} AND served_at <= TIMESTAMPTZ {text(until.isoformat())}"
    )
    with duckdb.connect() as connection:
        found = replay(
            Log(connection, project, ingested, [str(landed)]), records.lake, condition, scratch, limit=VECTORS
        )
    if found is None:
        return Replayed(vectors=0, identical=0, unexplained=0, detail="it has logged no prediction")
    result = outcome(found, project.replay.minimum_identical)
    return Replayed(
        vectors=result["vectors"],
        identical=result["identical"],
        unexplained=result["causes"].get("unknown", 0),
        detail=result["reason"],
    )


class _Records:
    """Where a project's records are: ingested, landed, or still in the slots' own files."""

    def __init__(self, project: Project, settings: Settings) -> None:
        self.lake, self._project = Lake(settings.lake_uri), project.name
        self._open = settings.home / "serving" / project.name / "log"

    def days(self, slot: str, since: datetime) -> list[date]:
        """The event days of the records that a slot has written in files it began since then, in order."""
        root = self.lake.landing(self._project, PREDICTIONS.name, date.min).parent
        folders = mirror.recent(root, since)
        found = set()
        for path in files([self._open, *folders]):
            name = SEGMENT.match(path.name)
            if name and name[1] == slot and int(name[3]) >= since.timestamp() * 1e9:
                found.add(date.fromisoformat(name[2]))
        return sorted(found)

    def files(self, first: date, last: date, scratch: Path) -> tuple[list[str], Path]:
        """The ingested Parquet of these event days, and one file of every line that is not ingested yet.

        The slots' own files are read first: a record that lands meanwhile is then there twice, and never missed.
        """
        together = scratch / "landed.jsonl"
        ingested: list[str] = []
        with together.open("wb") as out:
            for path in files([self._open]):
                out.write(lines(path))
            for offset in range((last - first).days + 1):
                day = first + timedelta(days=offset)
                published = current(self.lake.raw(self._project, PREDICTIONS.name, day))
                known = published.manifest.inputs if published else {}
                ingested += published.paths() if published else []
                for path in files([mirror.fetch_all(self.lake.landing(self._project, PREDICTIONS.name, day))]):
                    if path.name not in known:
                        out.write(lines(path))
        return ingested, together
