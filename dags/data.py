"""A batch of data, from landed files to features.

Waits, without occupying a worker, until the producer's files for the day have landed, then:
**ingest** (typed rows; what is malformed is quarantined), **etl** (Spark: each event once, on its own
day), **validate** (Great Expectations; a day that fails is held out) and **features** (dbt, offline
and online store). A day on which nothing came is skipped; the model that serves goes on with what it has.

The batch is a UTC day: the run's data interval is that day, and it starts once the project's schedule
says that the day is due. One run may also take a range, which is much cheaper than as many runs: start
it with the param `batch` as `FROM..TO`. Triggered without that param, a run takes the last day that was over at its
logical date. Past days, one run each, in order:

    airflow backfill create --dag-id <project>_data --from-date 2026-02-20 --to-date 2026-02-22 \\
        --max-active-runs 1

By hand, the same: `tidemill ingest`, `etl`, `validate` and `features`, each with
`--project <project> --batch 2026-02-20`, or all four at once: `tidemill backfill`.
"""

from _conf import Batch, params
from _links import DAILY, features_of, landings, started
from _stage import batch, defaults, stage
from airflow.sdk import DAG

from jobs.projects import PROJECTS

for project in PROJECTS.values():
    with DAG(
        f"{project.name}_data",
        dag_display_name=f"{project.title}: data",
        doc_md=__doc__,
        schedule=DAILY,
        start_date=started(project),
        catchup=False,
        max_active_runs=4,
        params=params(Batch),
        default_args=defaults(project, "data"),
        tags=[project.name, "data"],
    ):
        (
            landings(project)
            >> stage("ingest", project, Batch, batch)
            >> stage("etl", project, Batch, batch)
            >> stage("validate", project, Batch, batch)
            >> stage("features", project, Batch, batch, outlets=[features_of(project)])
        )
