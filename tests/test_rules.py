"""Which room may import which (DESIGN: rooms and import rule), and that the light rooms stay light."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

from jobs.projects import PROJECTS
from jobs.settings import ROOT

HEAVY = (
    "pyspark", "mlflow", "xgboost", "lightgbm", "great_expectations", "evidently", "bentoml", "dbt", "sklearn",
    "optuna", "onnxruntime", "matplotlib", "duckdb", "pandas", "scipy", "pyarrow", "numpy",
)  # fmt: skip
DAGS_MAY = {"jobs.batch", "jobs.errors", "jobs.lake", "jobs.projects", "jobs.settings", "jobs.spec"}
"""Light and without a stage among them: a file's path and a day have one spelling each, which DAGs share."""
CORE = {
    "batch",
    "bucket",
    "contradictions",
    "errors",
    "flags",
    "lake",
    "mirror",
    "policies",
    "reasons",
    "result",
    "settings",
    "slices",
    "sources",
    "spec",
    "storage",
}


def imports(path: Path) -> set[str]:
    """The modules a file imports, anywhere in it; `from jobs.x import y` counts as jobs.x and jobs.x.y."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def modules(folder: str) -> list[Path]:
    found = sorted(path for path in (ROOT / folder).rglob("*.py") if path.name != "__init__.py")
    assert found, f"nothing in {folder}: this test would prove nothing"
    return found


def below(names: set[str], *packages: str) -> set[str]:
    return {name for name in names if any(name == one or name.startswith(f"{one}.") for one in packages)}


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_dags_import_names_and_paths_only() -> None:
    for path in modules("dags"):
        inside = {name for name in below(imports(path), "jobs") if (ROOT / f"{name.replace('.', '/')}.py").exists()}
        assert inside <= DAGS_MAY, f"{named(path)} imports {inside - DAGS_MAY}; a DAG only names the command to run"
        assert not below(imports(path), "bentos", *HEAVY)


def test_stages_do_not_import_one_another_except_to_run_several() -> None:
    for path in modules("jobs/stages"):
        assert not below(imports(path), "jobs.commands", "dags", "bentos", "airflow")


def test_nothing_below_a_stage_imports_a_stage() -> None:
    rooms = {path.name for path in (ROOT / "jobs").iterdir() if path.is_dir() and not path.name.startswith("_")}
    for room in sorted(rooms - {"stages", "commands"}):
        for path in sorted((ROOT / "jobs" / room).rglob("*.py")):
            upward = below(imports(path), "jobs.stages", "jobs.commands", "dags", "bentos")
            assert not upward, f"{named(path)} imports {upward}, which is above it"


def test_the_core_imports_nothing_but_the_core() -> None:
    for path in sorted((ROOT / "jobs").glob("*.py")):
        if path.stem in CORE:
            others = below(imports(path), "jobs") - {"jobs"}
            wrong = {name for name in others if name.split(".")[1] not in CORE}
            assert not wrong, f"{named(path)} imports {wrong}; it is what everything else stands on"


def test_project_hooks_import_neither_stages_nor_helpers() -> None:
    for project in PROJECTS:
        for path in modules(f"jobs/projects/{project}"):
            allowed = {"jobs.spec", "jobs.errors", "jobs.batch", "jobs.simulated", f"jobs.projects.{project}"}
            wrong = below(imports(path), "jobs") - below(imports(path), *allowed) - {"jobs"}
            assert not wrong, f"{named(path)} imports {wrong}; a hook is only what is special about its project"


def test_a_spec_and_the_list_of_projects_need_the_standard_library_only() -> None:
    files = [ROOT / "jobs/spec.py", ROOT / "jobs/projects/__init__.py", *(ROOT / "jobs/projects").glob("*/spec.py")]
    for path in files:
        tops = {name.split(".")[0] for name in imports(path)}
        assert tops <= {*sys.stdlib_module_names, "jobs"}, f"{named(path)}: {tops - {*sys.stdlib_module_names, 'jobs'}}"


def test_only_dags_know_airflow() -> None:
    for folder in ("jobs", "bentos"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            assert not below(imports(path), "airflow"), f"{named(path)}: a stage must run without Airflow"


def loaded_by(python: Path | str, code: str, environment: dict[str, str]) -> str:
    """Which heavy packages a fresh interpreter has loaded after running some code."""
    code += f"; import sys; print(sorted(sys.modules.keys() & set({HEAVY!r})))"
    answer = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=environment, timeout=120
    )
    return answer.stdout.splitlines()[-1]


def test_what_every_command_starts_with_is_light() -> None:
    light = "import jobs.spec, jobs.projects, jobs.lake, jobs.batch, jobs.settings, jobs.__main__"
    assert loaded_by(sys.executable, light, dict(os.environ)) == "[]"


def test_parsing_the_dags_loads_nothing_heavy(tmp_path: Path) -> None:
    names = ", ".join(path.stem for path in modules("dags"))
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'dags'}", "AIRFLOW_HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    assert loaded_by(ROOT / ".venv" / "orchestrate" / "bin" / "python", f"import {names}", environment) == "[]"
