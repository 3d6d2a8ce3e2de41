"""A release, from no traffic to all of it, or back.

**start** loads the challenger into the idle slot and checks it: its bytes, and that the slot scores stored
vectors as training did. In the **shadow** it is sent a copy of every request, and its answers are compared
with those that were given. Each **step** brings it to a share of the traffic, watches it for as long as the
project's policy says and decides: go on, hold (the task is deferred and asks again) or roll back; **bake**
watches it once more with all of it. **promote** first replays what the release itself has served, which
must be what the lake says it should have been, and makes it the champion by compare-and-set. A first
release has served nothing before: for it the replay does not apply, and the verdict says so.

Started when a training registers a release, or by hand from the form. A rolled-back release shows as a
failed step whose last log line is the reason; the champion has all the traffic again, and nothing is
tried a second time. With nothing to start, everything is skipped. Any task may be killed at any moment:
the state is in the ledger, and the next attempt continues from it.

By hand, the same: `tidemill rollout start`, `shadow`, `step --percent 5` and so on, `bake`, `promote`,
each with `--project <project>`; `rollout status` shows every verdict, `rollout abort` ends it at once.
"""

from _conf import Release, params
from _links import release_of, started
from _stage import Rollout, chosen, defaults, stage
from airflow.sdk import DAG, chain

from jobs.projects import PROJECTS

for project in PROJECTS.values():
    with DAG(
        f"{project.name}_rollout",
        dag_display_name=f"{project.title}: rollout",
        doc_md=__doc__,
        schedule=[release_of(project)],
        start_date=started(project),
        catchup=False,
        max_active_runs=1,
        params=params(Release),
        default_args=defaults(project, "rollout"),
        tags=[project.name, "rollout"],
    ):
        chain(
            stage("rollout start", project, Release, chosen, task_id="start", operator=Rollout),
            stage("rollout shadow", project, Release, task_id="shadow", operator=Rollout),
            *(
                stage(
                    "rollout step", project, Release, task_id=f"step_{percent}", operator=Rollout, percent=str(percent)
                )
                for percent in project.canary.walk
            ),
            stage("rollout bake", project, Release, task_id="bake", operator=Rollout),
            stage("rollout promote", project, Release, task_id="promote", operator=Rollout),
        )
