"""What every model project keeps to, whatever it predicts: how large it is, where it is named, that its parts fit."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from demo.traffic import events_of
from jobs.errors import SpecError, UsageError
from jobs.features.vectors import payload, payload_names, rule
from jobs.projects import NAMES, PROJECTS, hook
from jobs.services.skeleton import FOLDERS, new
from jobs.settings import ROOT
from jobs.spec import Project

OWN = ("jobs/projects/{}", "bentos/{}", "expectations/{}")
"""A project's folders beside its SQL."""
FILES, LINES = 9, 350
FIRST = NAMES[0]
"""The project that was there before there was a rule: with its reasons in words it is longer."""
DAY = timedelta(days=40)
each_project = pytest.mark.parametrize("project", PROJECTS.values(), ids=NAMES)


def own_files(project: str) -> list[Path]:
    """The files of a project beside its SQL, without the empty ones that make a folder a package."""
    files = (path for one in OWN for path in (ROOT / one.format(project)).rglob("*"))
    return [path for path in files if path.suffix in (".py", ".json", ".yaml", ".txt") and path.read_text().strip()]


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_project_is_at_most_nine_files_and_350_lines_beside_its_sql(name: str) -> None:
    files = own_files(name)
    lines = {path.relative_to(ROOT).as_posix(): len(re.findall(r"\S.*", path.read_text())) for path in files}
    assert len(files) <= FILES, f"{name} has {len(files)} files: {lines}"
    assert sum(lines.values()) <= LINES, f"{name} has {sum(lines.values())} lines that are not empty: {lines}"


def names_in(text: str) -> set[str]:
    """The projects a text names as code does: alone, or as a part of a path, module, table or option."""
    return {name for name in NAMES if re.search(rf"(?:^|[/.:-]|--project ){name}(?:$|[/.:-])", text)}


def strings_of(path: Path) -> list[tuple[int, str]]:
    """The strings of a module and what it imports from, by line, without docstrings and the examples of help texts."""
    tree = ast.parse(path.read_text())
    documented = {
        id(keyword.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg in ("epilog", "help")
    }
    documented |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = []
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) else None
        text = f"{node.module}" if isinstance(node, ast.ImportFrom) else text
        if isinstance(text, str) and id(node) not in documented:
            found.append((node.lineno, text))
    return found


@pytest.mark.parametrize("room", ["dags", "jobs", "bentos", "demo", "infra"])
def test_no_project_is_named_outside_its_own_folders(room: str) -> None:
    own = [ROOT / one.format(name) for name in NAMES for one in FOLDERS]
    for path in sorted((ROOT / room).rglob("*.py")):
        if any(path.is_relative_to(folder) for folder in own) or path == ROOT / "jobs" / "projects" / "__init__.py":
            continue
        for line, text in strings_of(path):
            assert not names_in(text), f"{path.relative_to(ROOT)}:{line} names {names_in(text)}; ask its declaration"


def test_no_project_is_named_where_all_models_are_built() -> None:
    for path in [ROOT / "dbt" / "dbt_project.yml", ROOT / "dbt" / "profiles.yml", *(ROOT / "dbt" / "macros").iterdir()]:
        named = re.findall(rf"\b(?:{'|'.join(NAMES)})\b", path.read_text())
        assert not named, f"{path.relative_to(ROOT)} names {named}: a new project would build every other's marts anew"


def test_the_list_of_projects_has_a_line_for_each() -> None:
    lines = (ROOT / "jobs" / "projects" / "__init__.py").read_text().splitlines()
    assert [sum(f'"{name}"' in line for line in lines) for name in NAMES] == [1] * len(NAMES)


@cache
def simulated(name: str) -> dict[str, pa.Table]:
    project = PROJECTS[name]
    return dict(hook(project, "simulate").day(project.start + DAY, 1, None))


@each_project
def test_a_simulated_day_is_a_table_for_each_source_and_the_same_each_time(project: Project) -> None:
    tables = simulated(project.name)
    assert set(tables) == {source.name for source in project.sources}
    again = hook(project, "simulate").day(project.start + DAY, 1, None)
    other = hook(project, "simulate").day(project.start + DAY, 2, None)
    first = project.sources[0].name
    assert all(tables[name].equals(again[name]) for name in tables)
    assert not tables[first].equals(other[first]), "another seed is another world"


@each_project
def test_simulated_events_have_their_columns_and_are_of_their_day(project: Project) -> None:
    for source in project.sources:
        table = simulated(project.name)[source.name]
        declared = {column.name for column in source.columns}
        needed = {column.name for column in source.columns if not column.nullable}
        assert needed <= set(table.column_names) <= declared, source.name
        times = table[source.event_time].to_pylist()
        assert {time.date() for time in times} <= {project.start + DAY}, source.name
        assert table[source.event_id].to_pylist() == list(dict.fromkeys(table[source.event_id].to_pylist()))


@each_project
def test_a_shift_changes_the_days_from_its_own_on(project: Project) -> None:
    day, first = project.start + DAY, project.sources[0].name
    same, moved = (hook(project, "simulate").day(day, 1, day + timedelta(days=days)) for days in (1, 0))
    assert same[first].equals(simulated(project.name)[first])
    assert not moved[first].equals(same[first])


def features_of(project: Project, rows: int, random: np.random.Generator) -> dict[str, dict[str, Any]]:
    return {
        view.name: {name: random.integers(0, 50, rows) for name in view.features} | {"found": np.ones(rows, bool)}
        for view in project.every_view
    }


@each_project
def test_a_row_alone_gets_the_same_vector_as_among_others(project: Project) -> None:
    source = project.sources[0]
    events = simulated(project.name)[source.name].slice(0, 200)
    events = events.select(payload_names(project, events.column_names))
    features = features_of(project, events.num_rows, np.random.default_rng(1))
    request = hook(project, "features").request
    ruled = np.asarray(rule(project)(payload(project, events)), dtype=np.float64)
    assert ruled.shape == (len(events),), "a rule, or its absence, says something of every row"
    assert ((ruled >= 0) & (ruled <= 1)).all()
    together = request(payload(project, events), features)
    assert together.shape == (events.num_rows, len(project.models[-1].inputs))
    assert np.isfinite(together).all()
    for row in range(0, events.num_rows, 40):
        one = {name: {key: column[row : row + 1] for key, column in view.items()} for name, view in features.items()}
        alone = request(payload(project, events.slice(row, 1)), one)
        assert (alone[0] == together[row]).all()


@each_project
def test_every_table_has_expectations_of_its_columns(project: Project) -> None:
    for table in project.tables:
        suite = json.loads((ROOT / "expectations" / project.name / f"{table}.json").read_text())
        assert suite["name"] == f"{project.name}.{table}"
        columns = [e["kwargs"]["column_list"] for e in suite["expectations"] if "column_list" in e["kwargs"]]
        assert columns, (
            f"{table}: state its columns, so that a producer's change is a held batch and not a wrong feature"
        )


@each_project
def test_the_demos_clients_ask_with_what_the_first_source_requires(project: Project) -> None:
    source = project.sources[0]
    events = events_of(project, project.start + DAY, 1)
    assert set(events[0]) == {column.name for column in source.columns if not column.nullable}
    assert [event[source.event_time] for event in events] == sorted(event[source.event_time] for event in events)
    assert json.loads(json.dumps(events[:10])) == events[:10]


@each_project
def test_a_page_says_what_it_is(project: Project) -> None:
    page = (ROOT / "docs" / f"{project.name}.md").read_text()
    assert page.startswith("# ")
    assert f"--project {project.name}" in page, "name the commands that show what it says"


def copied(to: Path, *folders: str) -> Path:
    for folder in folders:
        shutil.copytree(ROOT / folder, to / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return to


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what a new project is written into."""
    return copied(tmp_path, "jobs", "bentos", "dbt", "expectations", "dags")


@pytest.mark.parametrize("like", NAMES)
def test_a_new_project_is_declared_by_its_name_alone(like: str, copy: Path) -> None:
    facts = new("churn", like, copy).facts
    assert len(facts["files"]) == sum(len(list(files_below(copy / one.format(like)))) for one in FOLDERS)
    code = "from jobs.projects import PROJECTS; print(*PROJECTS); print(*{PROJECTS['churn'].name})"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=copy,
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(copy)},
    )
    assert answer.stdout.splitlines() == [" ".join([*NAMES, "churn"]), "churn"]
    left = rf"projects[./]{like}\b|bentos[./]{like}\b|\bstg_{like}__|\b{like}_spine\b|([\"']){like}\1"
    for path in map(copy.joinpath, facts["files"]):
        found = re.search(left, path.read_text())
        assert not found, f"{path} still says {found and found[0]}"
    marts = {path.stem for path in (copy / "dbt/models/marts/churn").glob("*.sql")}
    assert {f"churn_{view.name}" for view in PROJECTS[like].views} | {"churn_spine"} <= marts


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["Churn", "9lives", "a-b", "x" * 41, "", FIRST])
def test_a_new_project_with_a_wrong_or_taken_name_writes_nothing(name: str, copy: Path) -> None:
    before = {path: path.read_bytes() for path in files_below(copy)}
    with pytest.raises(UsageError):
        new(name, FIRST, copy)
    assert {path: path.read_bytes() for path in files_below(copy)} == before


def test_a_ranking_is_not_judged_by_how_far_its_scores_moved() -> None:
    rankings = [project for project in PROJECTS.values() if project.models[-1].group]
    assert rankings
    for project in rankings:
        with pytest.raises(SpecError, match="maximum_score_distance must be None: a ranking's scores"):
            replace(project, canary=replace(project.canary, maximum_score_distance=0.3))
