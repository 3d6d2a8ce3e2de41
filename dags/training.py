"""A training, from a fixed snapshot to a registered challenger.

**snapshot** fixes which batches, commit and declaration are used and joins features to labels as they
were known then; **train** tunes every learner and the baselines it has to beat; **evaluate** scores them
and the champion on the same later days; **gate** decides, and stores its verdict win or lose. Where the
project asks for it, **approve** then waits for a person, who is shown the verdict and the model card under
Required Actions; without an answer in time it is a no. **register** makes what passed a release, which
starts its rollout.

Started when monitoring asks for it, or by hand from the form. A failed gate is a finding, not a fault:
it is not tried again, the champion stays, and the task's log names each number that fell short.

By hand, the same: `tidemill snapshot`, `train`, `evaluate`, `gate` and `register`, each with
`--project <project> --run <a name of your own>`; `approval show` and `approval answer` in between.
"""

from _approval import approval
from _conf import Training, params
from _links import release_of, retrain_of, started
from _stage import chosen, defaults, run, stage
from airflow.sdk import DAG, chain

from jobs.projects import PROJECTS

for project in PROJECTS.values():
    with DAG(
        f"{project.name}_training",
        dag_display_name=f"{project.title}: training",
        doc_md=__doc__,
        schedule=[retrain_of(project)],
        start_date=started(project),
        catchup=False,
        max_active_runs=1,
        params=params(Training),
        default_args=defaults(project, "training"),
        tags=[project.name, "training"],
    ):
        chain(
            stage("snapshot", project, Training, run, chosen),
            *(
                stage("train", project, Training, run, task_id=f"train_{model.name}", model=model.name)
                for model in project.models
            ),
            stage("evaluate", project, Training, run),
            stage("gate", project, Training, run),
            *approval(project, Training),
            stage("register", project, Training, run, outlets=[release_of(project)]),
        )
