"""Who is champion, and what was decided: PostgreSQL, every change a compare-and-set."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Self

from jobs.errors import ServiceError, StaleEpochError
from jobs.rollout.verdict import Decision
from jobs.settings import Settings

_SCHEMA = """
CREATE SCHEMA IF NOT EXISTS tidemill;
CREATE TABLE IF NOT EXISTS tidemill.champion (
    project text PRIMARY KEY, epoch bigint NOT NULL, release text NOT NULL, digest text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE IF NOT EXISTS tidemill.promotion (
    project text, epoch bigint, release text NOT NULL, digest text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (project, epoch));
CREATE TABLE IF NOT EXISTS tidemill.challenger (
    project text PRIMARY KEY, release text NOT NULL, digest text NOT NULL, run text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE IF NOT EXISTS tidemill.rollout (
    project text PRIMARY KEY, version bigint NOT NULL, document jsonb NOT NULL);
CREATE TABLE IF NOT EXISTS tidemill.verdict (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, project text NOT NULL, kind text NOT NULL,
    subject text NOT NULL, verdict text NOT NULL, document jsonb NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE IF NOT EXISTS tidemill.audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, project text NOT NULL, what text NOT NULL,
    document jsonb NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE IF NOT EXISTS tidemill.retrain_request (
    project text, batch date, reasons jsonb NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (project, batch));
"""
_LOCK = 7_443_651_009


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The release that a project serves, and the epoch in which it came to."""

    epoch: int
    release: str
    digest: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Challenger:
    """The release that passed the gate last and waits for its rollout."""

    release: str
    digest: str
    run: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One decision about a run, a release or a rollout step, with what it was decided on."""

    kind: str
    subject: str
    verdict: str
    document: Mapping[str, Any]
    at: datetime


@dataclass(frozen=True, kw_only=True)
class RetrainRequest:
    """A batch after which a training was asked for, and why."""

    batch: date
    reasons: Sequence[str]
    at: datetime


class Ledger:
    """The ledger's connection: a context manager whose every method is one transaction.

    Raises ServiceError when the database does not answer.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> Self:
        import psycopg

        with _answered():
            self._connection = psycopg.connect(self._url, autocommit=True, connect_timeout=10)
            with self._connection.transaction(), self._connection.cursor() as cursor:
                # two first openings at once would both create the tables
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                cursor.execute(_SCHEMA)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def champion(self, project: str) -> Champion | None:
        """The project's champion, or None before the first promotion."""
        rows = self._rows("SELECT epoch, release, digest, at FROM tidemill.champion WHERE project = %s", project)
        return Champion(**rows[0]) if rows else None

    def history(self, project: str) -> list[Champion]:
        """Every promotion of the project, oldest first."""
        query = "SELECT epoch, release, digest, at FROM tidemill.promotion WHERE project = %s ORDER BY epoch"
        return [Champion(**row) for row in self._rows(query, project)]

    def promote(self, project: str, seen_epoch: int, release: str, digest: str) -> Champion:
        """The new champion; raises StaleEpochError when `seen_epoch` (0: none yet) is no longer the epoch."""
        with _answered(), self._connection.transaction():
            rows = self._rows(
                "INSERT INTO tidemill.champion (project, epoch, release, digest) VALUES (%s, 1, %s, %s)"
                " ON CONFLICT DO NOTHING RETURNING epoch, release, digest, at"
                if seen_epoch == 0
                else "UPDATE tidemill.champion SET epoch = epoch + 1, release = %s, digest = %s, at = clock_timestamp()"
                " WHERE project = %s AND epoch = %s RETURNING epoch, release, digest, at",
                *((project, release, digest) if seen_epoch == 0 else (release, digest, project, seen_epoch)),
            )
            if not rows:
                raise StaleEpochError(
                    f"project {project!r} is no longer in epoch {seen_epoch}: somebody else promoted first; "
                    f"the champion was left as it is. See `tidemill status --project {project}`"
                )
            won = Champion(**rows[0])
            self._run(
                "INSERT INTO tidemill.promotion (project, epoch, release, digest, at) VALUES (%s, %s, %s, %s, %s)",
                project, won.epoch, release, digest, won.at,
            )  # fmt: skip
            self._run("DELETE FROM tidemill.challenger WHERE project = %s AND release = %s", project, release)
        return won

    def challenger(self, project: str) -> Challenger | None:
        """The registered challenger, or None."""
        rows = self._rows("SELECT release, digest, run, at FROM tidemill.challenger WHERE project = %s", project)
        return Challenger(**rows[0]) if rows else None

    def set_challenger(self, project: str, release: str, digest: str, run: str) -> None:
        """Makes a release the challenger; the one before it is superseded."""
        self._run(
            "INSERT INTO tidemill.challenger (project, release, digest, run) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (project) DO UPDATE SET release = excluded.release, digest = excluded.digest,"
            " run = excluded.run, at = clock_timestamp() WHERE challenger.release <> excluded.release",
            project, release, digest, run,
        )  # fmt: skip

    def clear_challenger(self, project: str, release: str) -> None:
        """Removes the challenger if it still is that release."""
        self._run("DELETE FROM tidemill.challenger WHERE project = %s AND release = %s", project, release)

    def rollout(self, project: str) -> tuple[int, dict[str, Any]] | None:
        """The rollout document and its version, or None before the first."""
        rows = self._rows("SELECT version, document FROM tidemill.rollout WHERE project = %s", project)
        return (rows[0]["version"], rows[0]["document"]) if rows else None

    def save_rollout(self, project: str, seen_version: int, document: Mapping[str, Any]) -> int:
        """The document's new version; raises StaleEpochError when `seen_version` (0: none yet) is not current."""
        rows = self._rows(
            "INSERT INTO tidemill.rollout (project, version, document) VALUES (%s, 1, %s)"
            " ON CONFLICT DO NOTHING RETURNING version"
            if seen_version == 0
            else "UPDATE tidemill.rollout SET version = version + 1, document = %s"
            " WHERE project = %s AND version = %s RETURNING version",
            *((project, _json(document)) if seen_version == 0 else (_json(document), project, seen_version)),
        )
        if not rows:
            raise StaleEpochError(
                f"the rollout of {project!r} is no longer at version {seen_version}: somebody else moved it; "
                f"nothing was written. See `tidemill rollout status --project {project}`"
            )
        return int(rows[0]["version"])

    def record_verdict(
        self, project: str, kind: str, subject: str, decision: Decision, document: Mapping[str, Any]
    ) -> None:
        """Keeps a verdict; saying the same again about the same subject is a no-op."""
        text = _json(document)
        self._run(
            "INSERT INTO tidemill.verdict (project, kind, subject, verdict, document) SELECT %s, %s, %s, %s, %s::jsonb"
            " WHERE NOT EXISTS (SELECT 1 FROM (SELECT verdict, document FROM tidemill.verdict"
            " WHERE project = %s AND kind = %s AND subject = %s ORDER BY id DESC LIMIT 1) AS newest"
            " WHERE newest.verdict = %s AND newest.document = %s::jsonb)",
            project, kind, subject, decision.value, text, project, kind, subject, decision.value, text,
        )  # fmt: skip

    def verdicts(self, project: str, kind: str | None = None, limit: int = 50) -> list[Verdict]:
        """The project's verdicts, newest first."""
        query = (
            "SELECT kind, subject, verdict, document, at FROM tidemill.verdict"
            " WHERE project = %s AND (%s::text IS NULL OR kind = %s) ORDER BY id DESC LIMIT %s"
        )
        return [Verdict(**row) for row in self._rows(query, project, kind, kind, limit)]

    def newest_verdicts(self, project: str) -> list[Verdict]:
        """The project's newest verdict of each kind, newest first."""
        query = (
            "SELECT kind, subject, verdict, document, at FROM (SELECT DISTINCT ON (kind) * FROM tidemill.verdict"
            " WHERE project = %s ORDER BY kind, id DESC) AS newest ORDER BY id DESC"
        )
        return [Verdict(**row) for row in self._rows(query, project)]

    def audit(self, project: str, what: str, document: Mapping[str, Any]) -> None:
        """Keeps a record of something done by force, by hand or by repair."""
        query = "INSERT INTO tidemill.audit (project, what, document) VALUES (%s, %s, %s)"
        self._run(query, project, what, _json(document))

    def audits(self, project: str, limit: int = 50) -> list[dict[str, Any]]:
        """The project's audit records, newest first: `what`, `document`, `at`."""
        query = "SELECT what, document, at FROM tidemill.audit WHERE project = %s ORDER BY id DESC LIMIT %s"
        return self._rows(query, project, limit)

    def request_retrain(self, project: str, batch: date, reasons: Sequence[str]) -> None:
        """Asks for a training after a batch; asking again for the same batch keeps the first reasons."""
        query = (
            "INSERT INTO tidemill.retrain_request (project, batch, reasons) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
        )
        self._run(query, project, batch, _json(list(reasons)))

    def last_retrain_request(self, project: str) -> RetrainRequest | None:
        """The request for the newest batch, or None."""
        query = "SELECT batch, reasons, at FROM tidemill.retrain_request WHERE project = %s ORDER BY batch DESC LIMIT 1"
        rows = self._rows(query, project)
        return RetrainRequest(**rows[0]) if rows else None

    def _rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        from psycopg.rows import dict_row

        with _answered(), self._connection.cursor(row_factory=dict_row) as cursor:
            rows: list[dict[str, Any]] = cursor.execute(query.encode(), values).fetchall()
            return rows

    def _run(self, query: str, *values: Any) -> None:
        with _answered():
            self._connection.execute(query.encode(), values)


@contextmanager
def _answered() -> Iterator[None]:
    import psycopg

    try:
        yield
    except psycopg.OperationalError as error:
        raise ServiceError(
            f"the ledger's database did not answer ({str(error).splitlines()[0]}); nothing was changed. "
            "Start it with `tidemill up`, or correct TIDEMILL_DATABASE_URL"
        ) from error


def _json(value: Any) -> str:
    return json.dumps(_finite(value), allow_nan=False, default=str)


def _finite(value: Any) -> Any:
    """JSON has no NaN or infinity: they are kept as their names, so that a verdict shows what it saw."""
    if isinstance(value, Mapping):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def champions(settings: Settings, project: str) -> list[Champion]:
    """Every champion the project had, oldest first."""
    with Ledger(settings.need("database_url")) as ledger:
        return list(ledger.history(project))
