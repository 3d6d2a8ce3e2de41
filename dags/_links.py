"""What connects runs: the days they are about, the files they wait for, and the assets that start one another."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from glob import escape
from pathlib import Path
from typing import Any

from _conf import Batch, Conf, read
from _stage import batch
from airflow.providers.standard.triggers.file import FileTrigger
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import Asset, BaseSensorOperator, CronDataIntervalTimetable
from airflow.sdk.exceptions import AirflowException
from airflow.triggers.base import BaseTrigger
from croniter import croniter  # type: ignore[import-untyped]

from jobs.batch import Batches, day_end
from jobs.lake import Lake, address, mirrored
from jobs.settings import Settings, region
from jobs.spec import Project

DAILY = CronDataIntervalTimetable("0 0 * * *", timezone="UTC")
"""A run for each UTC day, made when the day is over, so that `airflow backfill create` takes the days themselves."""


def started(project: Project) -> datetime:
    """When a project's first day begins."""
    return datetime.combine(project.start, time(), tzinfo=UTC)


def features_of(project: Project) -> Asset:
    """What a batch of data makes."""
    return Asset(f"{project.name}_features")


def release_of(project: Project) -> Asset:
    """What a training makes: it starts a rollout."""
    return Asset(f"{project.name}_release")


def retrain_of(project: Project) -> Asset:
    """What monitoring asks for: it starts a training."""
    return Asset(f"{project.name}_retrain")


POINTER = "current.json"
"""The file that makes a published partition exist."""


class Await(BaseSensorOperator):
    """Waits until a day's folder holds a file, and occupies no worker meanwhile; of a range, the last day's."""

    ui_color = "#f3ecd8"

    def __init__(
        self,
        *,
        folder: Callable[..., Path],
        files: str = "[!.]*",
        conf: type[Conf],
        due: str | None = None,
        poke_interval: float = 5,
        timeout: float = timedelta(hours=6).total_seconds(),
        **rest: Any,
    ) -> None:
        # No limit of one at a time: a deferred wait counts as active, and today's would hold up every backfill.
        super().__init__(poke_interval=poke_interval, timeout=timeout, **rest)
        self.folder, self.files, self.due, self.conf = folder, files, due, conf

    def execute(self, context: Any, event: Any = None) -> None:
        """Returns once the file is there; raises when the run's conf is wrong or the wait was too long."""
        conf = read(self.conf, context)
        day = Batches.parse(str(batch(conf, context)["batch"])).last
        due = self.due_at(day) if self.due and not conf.batch else datetime.now(UTC)
        if due > datetime.now(UTC):
            self.log.info("batch %s is due at %s", day, due)
            self.defer(trigger=DateTimeTrigger(due), method_name="execute")
        folder = self.folder(Lake(Settings.load().lake_uri), batch=day)
        if isinstance(event, dict) and event.get("status") == "error":
            raise AirflowException(f"the wait for {address(folder)}/{self.files} ended: {event.get('message')}")
        trigger = _missing(folder, self.files, self.poke_interval)
        if trigger:
            self.log.info("waiting for %s/%s", address(folder), self.files)
            self.defer(trigger=trigger, method_name="execute", timeout=timedelta(seconds=self.timeout))
        self.log.info("found %s/%s", address(folder), self.files)

    def due_at(self, day: date) -> datetime:
        """The first time, after the day is over, that the project's schedule names."""
        return datetime.fromtimestamp(croniter(self.due, day_end(day) - timedelta(seconds=1)).get_next(float), tz=UTC)


def _missing(folder: Path, files: str, poke_interval: float) -> BaseTrigger | None:
    """What fires once a folder, or its place on S3, holds such a file; None when it does."""
    if not mirrored(folder):
        pattern = f"{escape(str(folder))}/{files}"
        return None if any(folder.glob(files)) else FileTrigger(pattern, poke_interval=poke_interval)
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from airflow.providers.amazon.aws.triggers.s3 import S3KeyTrigger
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, prefix = address(folder).removeprefix("s3://").partition("/")
    key = f"{escape(prefix)}/{files}"
    try:
        there = S3Hook(aws_conn_id=None, region_name=region()).check_for_wildcard_key(key, bucket)
    except (BotoCoreError, ClientError) as error:
        raise AirflowException(
            f"the lake cannot be looked into at {address(folder)}: {error}; nothing was started. Look at "
            "TIDEMILL_LAKE_URI, AWS_REGION and what Airflow's role may do (s3:ListBucket, s3:GetObject)"
        ) from None
    if there:
        return None
    return S3KeyTrigger(
        bucket_name=bucket, bucket_key=key, wildcard_match=True, aws_conn_id=None, region_name=region(),
        poke_interval=poke_interval,
    )  # fmt: skip


def landings(project: Project) -> list[Await]:
    """A wait for the files of each source that a batch cannot do without, once the batch is due."""
    return [
        Await(
            task_id=f"landed_{source.name}",
            folder=partial(Lake.landing, project=project.name, source=source.name),
            conf=Batch,
            due=project.schedule,
            retries=2,
        )
        for source in project.sources
        if source.required
    ]


def features_ready(project: Project) -> Await:
    """A wait for a day's events to be published with their labels: the last thing the features stage does."""
    folder = partial(Lake.spine, project=project.name)
    return Await(task_id="features_ready", folder=folder, files=POINTER, conf=Batch, retries=2)
