"""Every path of the lake, in one place; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from jobs.settings import HOME

MIRROR = "mirror-of-s3"
"""The folder below which a lake on S3 is mirrored by files of this machine: see `mirror`."""
_S3 = "s3://"
_UNSAFE = str.maketrans({":": "-", "+": "-"})


@dataclass(frozen=True)
class Lake:
    """The folders below one root. A partition's folder holds versions and a pointer (see `storage`).

    >>> Lake("/lake").raw("fraud", "transactions", date(2026, 11, 20)).as_posix()
    '/lake/raw/fraud/transactions/batch=2026-11-20'
    >>> Lake("/lake").run("fraud", "manual__2026-11-21T07:11:09+00:00").as_posix()
    '/lake/runs/fraud/manual__2026-11-21T07-11-09-00-00'
    >>> address(Lake("s3://lake/prod").raw("fraud", "transactions", date(2026, 11, 20)))
    's3://lake/prod/raw/fraud/transactions/batch=2026-11-20'
    """

    root: Path | str

    @property
    def folder(self) -> Path:
        """The root as a folder of this machine; of a lake on S3 its mirror."""
        root = str(self.root)
        return (HOME / MIRROR / root.removeprefix(_S3)).absolute() if root.startswith(_S3) else Path(root)

    def _under(self, *parts: str) -> Path:
        return self.folder.joinpath(*parts)

    def _batch(self, zone: str, project: str, name: str, batch: date) -> Path:
        return self._under(zone, project, name, f"batch={batch.isoformat()}")

    def landing(self, project: str, source: str, batch: date) -> Path:
        """Files as delivered, immutable, named `<sha256, 16 digits>-<their name>`."""
        return self._batch("landing", project, source, batch)

    def shadow(self, project: str, batch: date) -> Path:
        """Records of mirrored requests, by event day: compared with the stable slot's, and part of nothing else."""
        return self._batch("shadow", project, "predictions", batch)

    def quarantine(self, project: str, source: str, batch: date) -> Path:
        """Rows and files that were refused, with their bytes and a reason."""
        return self._batch("quarantine", project, source, batch)

    def raw(self, project: str, source: str, batch: date) -> Path:
        """Accepted rows of one delivery day, typed, as Parquet."""
        return self._batch("raw", project, source, batch)

    def clean(self, project: str, table: str, batch: date) -> Path:
        """A cleaned table's events of one event day."""
        return self._batch("clean", project, table, batch)

    def validation(self, project: str, batch: date) -> Path:
        """The verdict of the expectations on what arrived with one batch."""
        return self._batch("validation", project, "verdict", batch)

    def features(self, project: str, view: str, batch: date) -> Path:
        """The offline store: a feature view's rows as of the end of one batch."""
        return self._batch("features", project, view, batch)

    def spine(self, project: str, batch: date) -> Path:
        """Entity keys, request columns, event time, label and label time of one event day."""
        return self._batch("features", project, "spine", batch)

    def labels(self, project: str, batch: date) -> Path:
        """Served predictions whose label matured by the end of one batch."""
        return self._batch("monitoring", project, "labels", batch)

    def monitoring(self, project: str, kind: str, batch: date) -> Path:
        """The drift or performance result of one batch: `result.json` and its HTML report."""
        return self._batch("monitoring", project, kind, batch)

    def run(self, project: str, run: str) -> Path:
        """Everything one training wrote: snapshot, candidates, evaluation, verdict."""
        return self._under("runs", project, run.translate(_UNSAFE))

    def history(self, project: str, until: date) -> Path:
        """What a dated backfill up to a day came to: the digest of everything it made."""
        return self._under("history", project, f"until={until.isoformat()}")

    def backtest(self, project: str, name: str) -> Path:
        """What trainings of past days would have been worth: figures and a page."""
        return self._under("backtests", project, name)

    def experiment(self, project: str, release: str) -> Path:
        """The newest reading of a release's experiment: `result.json` and its HTML report."""
        return self._under("experiments", project, release)

    def release(self, project: str, release: str) -> Path:
        """A release's bundle: model files, feature contract and manifest."""
        return self._under("releases", project, release)

    def releases(self, project: str) -> Path:
        """Every release of a project, a folder each."""
        return self._under("releases", project)

    def assignment(self, project: str, slot: str) -> Path:
        """What a slot on another machine is told to serve."""
        return self._under("serving", project, f"{slot}.json")

    def routes(self) -> Path:
        """Who gets how much of every project's traffic, where routers on other machines read it."""
        return self._under("routes", "routes.json")

    def scratch(self, project: str, job: str) -> Path:
        """Where one job writes before it publishes: below the root, so that a rename moves it; removed after."""
        return self._under("scratch", project, job)

    def data_docs(self) -> Path:
        """Great Expectations' pages."""
        return self._under("docs", "expectations")

    def dbt_docs(self, project: str) -> Path:
        """dbt's generated documentation."""
        return self._under("docs", "dbt", project)


def mirrored(path: Path) -> bool:
    """Whether a path is the mirror of something on S3."""
    return MIRROR in path.parts


def address(path: Path) -> str:
    """What a person or another machine calls a path of the lake: `s3://…`, or the path itself.

    >>> address(Path("/home/x/mirror-of-s3/lake/prod/raw"))
    's3://lake/prod/raw'
    >>> address(Path("/lake/raw"))
    '/lake/raw'
    """
    parts = path.parts
    return _S3 + "/".join(parts[parts.index(MIRROR) + 1 :]) if MIRROR in parts else str(path)


def located(text: str) -> Path:
    """The path of an address, on this machine.

    >>> located("/lake/raw").as_posix()
    '/lake/raw'
    """
    return Lake(text).folder
