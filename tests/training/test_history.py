"""A dated backfill: past data, weekly models and their verdicts, to the same digests from empty. Slow: it trains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.lake import Lake
from jobs.settings import ROOT

DAYS, UNTIL = "2026-01-01..2026-02-18", "2026-02-18"
"""Long enough for two weekly trainings: a delay, a test week, a delay, a training week, and a fold before it."""


def tidemill(home: Path, *arguments: str) -> tuple[int, dict]:
    """The exit code and facts of a command, with no service anywhere near."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL_")}
    command = [sys.executable, "-m", "jobs", *arguments, "--json"]
    done = subprocess.run(
        command, cwd=ROOT, env=settings | {"TIDEMILL_HOME": str(home)}, capture_output=True, text=True, check=False
    )
    return done.returncode, json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else {"error": done.stderr}


@pytest.mark.slow
@pytest.mark.timeout(2_400)
def test_everything_up_to_a_day_comes_out_the_same_from_empty(tmp_path: Path) -> None:
    lists = []
    for home in (tmp_path / "once", tmp_path / "again"):
        deliver = ("--out", str(home / "delivery"), "--mishaps", "--land")
        assert tidemill(home, "simulate", "--project", "fraud", "--batch", DAYS, *deliver)[0] == 0
        code, facts = tidemill(home, "backfill", "--project", "fraud", "--until", UNTIL, "--train-weekly")
        assert code == 0, facts
        assert [week["as_of"] for week in facts["weeks"]] == ["2026-02-11", "2026-02-18"]
        assert {week["verdict"] for week in facts["weeks"]} <= {"PROMOTE", "REJECT"}
        assert Path(facts["digests"]).is_relative_to(Lake(home / "lake").root)
        lists.append(Path(facts["digests"]).read_text())
    assert lists[0] == lists[1]
    named = [line.split("  ")[1] for line in lists[0].splitlines()]
    assert any(name.startswith("runs/fraud/weekly-2026-02-11/verdict") for name in named)
    assert any(name.startswith("features/fraud/spine/") for name in named)


def test_until_needs_something_landed(tmp_path: Path) -> None:
    code, facts = tidemill(tmp_path, "backfill", "--project", "fraud", "--until", UNTIL)
    assert code == 1
    assert "tidemill land --project fraud" in facts["error"]


@pytest.mark.parametrize("wrong", [(), ("--batch", UNTIL, "--until", UNTIL), ("--batch", UNTIL, "--train-weekly")])
def test_a_backfill_is_told_its_days_in_one_way(tmp_path: Path, wrong: tuple[str, ...]) -> None:
    code, facts = tidemill(tmp_path, "backfill", "--project", "fraud", *wrong)
    assert code == 2
    assert "--batch" in facts["error"]
