"""Two stages, of which the first may take ten seconds and is not tried again."""

from datetime import timedelta

from _conf import Batch, params
from _stage import batch, defaults, stage
from airflow.sdk import DAG

from jobs.projects import PROJECTS

project = next(iter(PROJECTS.values()))
with DAG("hanging", schedule=None, params=params(Batch), default_args=defaults(project, "data")):
    first = stage("ingest", project, Batch, batch)
    first.execution_timeout, first.retries = timedelta(seconds=10), 0
    first >> stage("etl", project, Batch, batch)
