"""docs/add-a-project.md, done as it says in a copy of the repository, as far as a few minutes and no weeks of data go."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.lake import Lake
from jobs.settings import ROOT
from jobs.storage import require
from tests.test_projects import copied

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]
PAGE = (ROOT / "docs" / "add-a-project.md").read_text()
BEFORE_THE_LOOP = PAGE.split("## 4. The loop")[0]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copied(tmp_path_factory.mktemp("new"), "jobs", "bentos", "dbt", "expectations", "dags", "demo")
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


def blocks() -> list[tuple[str, str, str]]:
    """The fenced blocks before the loop, in order: what they are, the file they are about, their text."""
    return re.findall(r"^```(\w*) ?([\w./-]*)\n(.*?)^```", BEFORE_THE_LOOP, re.MULTILINE | re.DOTALL)


def ran(copy: Path, line: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL_")}
    environment |= {"TIDEMILL_HOME": str(copy / "var"), "PYTHONPATH": str(copy)}
    done = subprocess.run(
        [ROOT / ".venv/jobs/bin/python", "-m", "jobs", *shlex.split(line)[1:]],
        cwd=copy, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def followed(copy: Path) -> dict[str, str]:
    """Everything on the page done in its order: what each command answered."""
    answers = {}
    for kind, file, text in blocks():
        if kind == "csv":
            (copy / file).write_text(text)
        elif kind == "diff":
            old, new = ("".join(f"{line[1:]}\n" for line in text.splitlines() if line[0] == sign) for sign in "-+")
            spec = (copy / file).read_text()
            assert spec.count(old) == 1, f"{file} has no such lines:\n{old}"
            (copy / file).write_text(spec.replace(old, new))
        elif not kind:
            answers |= {line: ran(copy, line) for line in text.splitlines() if line.startswith("tidemill ")}
    return answers


def test_the_draft_runs_at_once(followed: dict[str, str]) -> None:
    (backfilled,) = (answer for line, answer in followed.items() if line.startswith("tidemill backfill"))
    assert "3 days" in backfilled


def test_own_files_are_accepted_under_their_own_names(followed: dict[str, str], copy: Path) -> None:
    lake = Lake(str(copy / "var" / "lake"))
    for source, rows in (("impressions", 3), ("clicks", 1)):
        found = require(lake.raw("mails", source, date(2026, 1, 5)), "the test")
        assert found.manifest.rows == rows
        assert found.manifest.facts["quarantined"] == 0
        assert sum(pq.read_metadata(path).num_rows for path in found.paths()) == rows


def test_the_page_explains_how_the_new_project_resolves(followed: dict[str, str]) -> None:
    explained = followed["tidemill explain mails"]
    for dag in ("mails_data", "mails_training", "mails_rollout", "mails_monitoring"):
        assert dag in explained


def test_its_dags_are_parsed_without_a_change(followed: dict[str, str], copy: Path) -> None:
    home = copy / "airflow"
    environment = {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "PYTHONPATH": str(copy), "PATH": os.environ["PATH"]}  # fmt: skip
    answer = subprocess.run(
        [ROOT / ".venv/orchestrate/bin/python", ROOT / "tests/dags/dump_dags.py", copy / "dags"],
        env=environment, capture_output=True, text=True, check=True, timeout=300, cwd=copy,
    )  # fmt: skip
    bag = json.loads(answer.stdout.splitlines()[-1])
    assert bag["errors"] == {}
    assert {f"mails_{kind}" for kind in ("data", "training", "rollout", "monitoring")} <= set(bag["dags"])
