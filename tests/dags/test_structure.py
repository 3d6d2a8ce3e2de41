"""The DAGs are what the declared projects make them: names, order, links, and what keeps a run safe."""

from __future__ import annotations

import ast
import json
from datetime import UTC, datetime, time
from itertools import pairwise
from typing import Any

import pytest

from jobs.projects import PROJECTS
from jobs.services import airflow
from jobs.services.airflow import POOLS
from jobs.settings import ROOT, Settings
from jobs.spec import Project

KINDS = ("data", "training", "rollout", "monitoring")
FINDINGS = {"validate", "gate", "register", "replay"}
each_project = pytest.mark.parametrize("project", PROJECTS.values(), ids=list(PROJECTS))
Dags = dict[str, Any]


def chain_of(dag: Any) -> list[str]:
    """The tasks of a DAG without branches, in order; fails when it branches."""
    for earlier, later in pairwise(dag["order"]):
        assert dag["tasks"][later]["upstream"] == [earlier]
    return list(dag["order"])


def test_every_project_has_its_dags(dags: Dags) -> None:
    assert set(dags) == {f"{name}_{kind}" for name in PROJECTS for kind in KINDS}


@each_project
def test_data_waits_for_every_required_source_then_runs_the_stages_in_order(dags: Dags, project: Project) -> None:
    dag = dags[f"{project.name}_data"]
    landed = {f"landed_{source.name}" for source in project.sources if source.required}
    assert {name for name, task in dag["tasks"].items() if not task["upstream"]} == landed
    assert set(dag["tasks"]["ingest"]["upstream"]) == landed
    assert dag["order"][len(landed) :] == ["ingest", "etl", "validate", "features"]
    assert dag["tasks"]["features"]["upstream"] == ["validate"]
    assert dag["tasks"]["validate"]["upstream"] == ["etl"]


@each_project
def test_training_fixes_its_input_first_and_the_gate_stands_before_the_registry(dags: Dags, project: Project) -> None:
    models = [f"train_{model.name}" for model in project.models]
    assert chain_of(dags[f"{project.name}_training"]) == ["snapshot", *models, "evaluate", "gate", "register"]


@each_project
def test_a_rollout_takes_the_steps_of_the_policy(dags: Dags, project: Project) -> None:
    steps = [f"step_{percent}" for percent in project.canary.walk]
    assert chain_of(dags[f"{project.name}_rollout"]) == ["start", "shadow", *steps, "bake", "promote"]


@each_project
def test_monitoring_goes_on_after_a_day_without_traffic(dags: Dags, project: Project) -> None:
    dag = dags[f"{project.name}_monitoring"]
    order = ["features_ready", "ingest", "labels", "drift", "performance"]
    for earlier, later in pairwise(order):
        assert dag["tasks"][later]["upstream"] == [earlier]
    last = {name for name, task in dag["tasks"].items() if task["upstream"] == ["performance"]}
    assert last == set(dag["tasks"]) - set(order) == {"replay", "request_retrain"}, "a skewed replay stops nothing"
    rules = {name: task["trigger_rule"] for name, task in dag["tasks"].items()}
    assert {name for name, rule in rules.items() if rule == "none_failed"} == {*order[2:], *last}


@each_project
def test_assets_close_the_loop(dags: Dags, project: Project) -> None:
    outlets = {
        (kind, task): f["outlets"]
        for kind in KINDS
        for task, f in dags[f"{project.name}_{kind}"]["tasks"].items()
        if f["outlets"]
    }
    assert outlets == {
        ("data", "features"): [f"{project.name}_features"],
        ("training", "register"): [f"{project.name}_release"],
        ("monitoring", "request_retrain"): [f"{project.name}_retrain"],
    }
    assert dags[f"{project.name}_training"]["assets"] == [f"{project.name}_retrain"]
    assert dags[f"{project.name}_rollout"]["assets"] == [f"{project.name}_release"]


@each_project
@pytest.mark.parametrize("kind", ["data", "monitoring"])
def test_a_batch_is_a_utc_day_and_can_be_backfilled(dags: Dags, project: Project, kind: str) -> None:
    dag = dags[f"{project.name}_{kind}"]
    assert dag["cron"] == "0 0 * * *", "a backfill's --from-date and --to-date must be the batches themselves"
    assert dag["periodic"]
    assert not dag["catchup"]
    assert dag["start"] == datetime.combine(project.start, time(), tzinfo=UTC).isoformat()


@each_project
@pytest.mark.parametrize("kind", ["training", "rollout"])
def test_one_training_and_one_rollout_at_a_time(dags: Dags, project: Project, kind: str) -> None:
    assert dags[f"{project.name}_{kind}"]["max_active_runs"] == 1


def test_params_are_typed_and_shown_with_a_title(dags: Dags) -> None:
    for name, dag in dags.items():
        for param, schema in dag["params"].items():
            assert {"type", "title"} <= set(schema), f"{name}.{param}: the trigger form needs a type and a title"


@each_project
def test_a_manual_run_may_choose(dags: Dags, project: Project) -> None:
    chosen = {kind: set(dags[f"{project.name}_{kind}"]["params"]) for kind in KINDS}
    assert chosen == {
        "data": {"batch"},
        "monitoring": {"batch"},
        "training": {"as_of", "negative_control"},
        "rollout": {"release", "rehearse"},
    }


def test_no_field_of_a_task_is_a_template(dags: Dags) -> None:
    templates = {
        f"{name}.{task}" for name, dag in dags.items() for task, f in dag["tasks"].items() if f["template_fields"]
    }
    assert not templates, f"{templates} would render what a person typed; read the conf through _conf.read instead"


def test_tasks_have_an_owner_retries_and_an_end(dags: Dags) -> None:
    for name, dag in dags.items():
        owner = PROJECTS[dag["tags"][1 if dag["tags"][0] in KINDS else 0]].owner
        for task, facts in dag["tasks"].items():
            assert facts["owner"] == owner, f"{name}.{task}: set the project's owner in default_args"
            if facts["command"] in FINDINGS:
                assert facts["retries"] == 0, f"{name}.{task}: its failure is an answer, which a retry only delays"
            else:
                assert facts["retries"] >= 1, f"{name}.{task}: a killed worker must not end the run; set retries"
            if facts["command"]:
                assert facts["timeout"], f"{name}.{task}: a hung command must be killed; see MINUTES in _stage.py"


def test_the_page_explains_itself_and_how_to_do_it_by_hand(dags: Dags) -> None:
    for name, dag in dags.items():
        assert dag["doc"], f"{name}: the module's docstring is its doc_md"
        assert "By hand" in dag["doc"], f"{name}: say which `tidemill` commands do the same"
        stages = {facts["command"].split()[-1] for facts in dag["tasks"].values() if facts["command"]}
        missing = {stage for stage in stages if stage not in dag["doc"]}
        assert not missing, f"{name}: its docstring does not mention {missing}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_dag_file_is_one_page_without_logic(kind: str) -> None:
    tree = ast.parse((ROOT / "dags" / f"{kind}.py").read_text())
    branches = [
        node.lineno for node in ast.walk(tree) if isinstance(node, ast.If | ast.IfExp | ast.FunctionDef | ast.ClassDef)
    ]
    assert not branches, f"dags/{kind}.py has logic on lines {branches}; it belongs into a stage or into _stage.py"
    body = [line for line in (ROOT / "dags" / f"{kind}.py").read_text().split('"""')[2].splitlines() if line]
    assert len(body) < 60


@each_project
@pytest.mark.parametrize("kind", KINDS)
def test_every_task_waits_in_the_pool_of_its_kind(dags: Dags, project: Project, kind: str) -> None:
    tasks = dags[f"{project.name}_{kind}"]["tasks"].values()
    assert {task["pool"] for task in tasks} == {kind}, "a task in default_pool is bounded by nobody"
    assert all("upstream" in task["weight_rule"].lower() for task in tasks), "finish what was begun, then begin more"


def test_the_machine_has_the_pools_and_a_place_for_each_of_their_tasks(settings: Settings) -> None:
    assert set(POOLS) == set(KINDS)
    assert set(json.loads(airflow.pools_file(settings).read_text())) == set(POOLS)
    room = int(airflow.environment(settings)["AIRFLOW__CORE__PARALLELISM"])
    assert room == sum(slots for slots, _ in POOLS.values()), "with fewer, long trainings would keep rollouts waiting"


@each_project
@pytest.mark.parametrize("kind", KINDS)
def test_dags_are_found_by_project_and_by_kind(dags: Dags, project: Project, kind: str) -> None:
    assert dags[f"{project.name}_{kind}"]["tags"] == sorted((project.name, kind))


def test_the_scheduler_parses_every_project_in_under_five_seconds(bag: dict[str, Any]) -> None:
    assert max(bag["seconds"]) < 2
    assert sum(bag["seconds"]) < 5
