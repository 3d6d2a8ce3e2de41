"""Runs a project's dbt models in this process, on a database that lives as long as the call."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import date
from pathlib import Path
from typing import Any

from jobs import mirror
from jobs.engines import Engine, engine, scratch
from jobs.errors import DataRejected, TidemillError
from jobs.lake import Lake
from jobs.settings import ROOT, Settings
from jobs.spec import Project
from jobs.storage import digest_file, digest_of

MODELS = ROOT / "dbt"


def digest(project: Project) -> str:
    """SHA-256 over what the project's marts are computed by: its models, macros and variables."""
    models = _digest(path for path in _sources(project) if path.suffix == ".sql" or path.name == "dbt_project.yml")
    return digest_of([models, _variables(project)])


@contextmanager
def build(
    project: Project, settings: Settings, *, tables: Mapping[str, Sequence[str]], batches: Mapping[str, Sequence[date]]
) -> Iterator[Engine]:
    """The project's marts, computed and tested by dbt from Parquet files by table, for the batches asked of each mart.

    Raises DataRejected naming every data test that failed, and TidemillError when dbt could not run.
    """
    with scratch(project, settings) as folder, engine(project, settings, folder) as warehouse:
        warehouse.provide(project, tables, batches)
        with warehouse.lent() as names, _environment(names):
            _run(project, settings, folder, warehouse.target)
        yield warehouse


@contextmanager
def _environment(names: Mapping[str, str]) -> Iterator[None]:
    """These environment variables, until the end of the block."""
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _run(project: Project, settings: Settings, folder: Path, target: str) -> None:
    from dbt.cli.main import dbtRunner

    runner = dbtRunner()
    common = (
        *("--project-dir", str(MODELS), "--profiles-dir", str(MODELS), "--target", target),
        *("--target-path", str(folder / "target"), "--log-path", str(folder / "logs")),
        *("--select", f"staging.{project.name}", f"marts.{project.name}"),
        *("--vars", json.dumps(_variables(project))),
        *("--quiet", "--no-use-colors", "--log-level", "none"),
    )
    output = folder / "output.txt"
    with output.open("w") as out, redirect_stdout(out), redirect_stderr(out):
        _check(project, runner.invoke(["build", *common]), output)
        documented = Lake(settings.lake_uri).dbt_docs(project.name)
        version, stamp = _digest(_sources(project)), documented / "models.sha256"
        if mirror.read(stamp) != version.encode():
            _check(project, runner.invoke(["docs", "generate", "--static", *common]), output)
            mirror.write(documented / "index.html", (folder / "target" / "static_index.html").read_bytes())
            mirror.write(stamp, version.encode())


def _variables(project: Project) -> dict[str, int]:
    """What the models know of the declaration."""
    return {"label_delay_days": project.label.delay_days}


def _check(project: Project, outcome: Any, output: Path) -> None:
    if outcome.success:
        return
    results = getattr(outcome.result, "results", None) or []
    faults = [
        f"- {result.node.name}: {' '.join(str(result.message).split())}"
        for result in results
        if result.status in ("fail", "error", "runtime error")
    ]
    if faults and all(result.status != "error" for result in results):
        raise DataRejected("\n".join(["the features break what the dbt tests state; nothing was published:", *faults]))
    output_text = output.read_text()[-2000:]
    reason = faults or [f"- {outcome.exception or output_text}"]
    raise TidemillError(
        "\n".join([f"dbt could not build the models of {project.name}; nothing was published:", *reason])
    )


def _sources(project: Project) -> list[Path]:
    models = MODELS / "models"
    folders = [MODELS / "macros", models / "staging" / project.name, models / "marts" / project.name]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return sorted([MODELS / "dbt_project.yml", *files])


def _digest(paths: Iterable[Path]) -> str:
    return digest_of({path.relative_to(MODELS).as_posix(): digest_file(path) for path in paths})
