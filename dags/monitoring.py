"""A day of serving, looked back on.

Once the day's features are published: **ingest** reads the prediction log, **labels** joins predictions
with the labels that have matured, **drift** compares what was served with what was trained on,
**performance** measures the champion on matured labels, **replay** computes every served vector once more
from the lake, and **request_retrain** asks for a training when drift or performance calls for it. A day
without traffic has no log to read: those tasks are skipped and the others still run, because labels of
earlier days mature. Without a reason, or within the project's cool-down, request_retrain is skipped too,
and no training starts. A failed replay is a finding: what was served is not what the lake says; its page
names the causes, and nothing waits for it.

The batch is a UTC day: the run's data interval is that day. Past days, one run each:

    airflow backfill create --dag-id <project>_monitoring --from-date 2026-02-20 --to-date 2026-02-22 \\
        --max-active-runs 1

By hand, the same: `tidemill ingest --source predictions`, `labels`, `drift`, `performance`, `replay` and
`request-retrain`, each with `--project <project> --batch 2026-02-20`.
"""

from _conf import Batch, params
from _links import DAILY, features_ready, retrain_of, started
from _stage import batch, defaults, stage
from airflow.sdk import DAG, chain

from jobs.projects import PROJECTS
from jobs.spec import PREDICTIONS

for project in PROJECTS.values():
    with DAG(
        f"{project.name}_monitoring",
        dag_display_name=f"{project.title}: monitoring",
        doc_md=__doc__,
        schedule=DAILY,
        start_date=started(project),
        catchup=False,
        max_active_runs=4,
        params=params(Batch),
        default_args=defaults(project, "monitoring"),
        tags=[project.name, "monitoring"],
    ):
        chain(
            features_ready(project),
            stage("ingest", project, Batch, batch, source=PREDICTIONS.name),
            stage("labels", project, Batch, batch, trigger_rule="none_failed"),
            stage("drift", project, Batch, batch, trigger_rule="none_failed"),
            stage("performance", project, Batch, batch, trigger_rule="none_failed"),
            [
                stage("replay", project, Batch, batch, trigger_rule="none_failed"),
                stage(
                    "request-retrain", project, Batch, batch, trigger_rule="none_failed", outlets=[retrain_of(project)]
                ),
            ],
        )
