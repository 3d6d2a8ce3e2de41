"""The published figures beaten by the published protocol, on the handbook's files. Slow: half a year of data, four trainings."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobs.settings import ROOT

LAST = "2018-09-04"
"""The last day of the last test week."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2_400)]


def tidemill(home: Path, *arguments: str) -> dict[str, Any]:
    settings = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL_")}
    done = subprocess.run(
        [sys.executable, "-m", "jobs", *arguments, "--json"],
        cwd=ROOT, env=settings | {"TIDEMILL_HOME": str(home)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def test_the_mean_of_the_four_published_test_weeks_is_above_every_published_row_of_the_handbook(
    tmp_path: Path, handbook_raw: Path
) -> None:
    files = sorted(str(path) for path in handbook_raw.glob("*.parquet") if path.stem <= LAST)
    tidemill(tmp_path, "land", "--project", "fraud", "--source", "transactions", *files)
    tidemill(tmp_path, "backfill", "--project", "fraud", "--batch", f"2018-04-01..{LAST}")
    found = tidemill(tmp_path, "backtest", "--project", "fraud", "--from", "2018-07-25", "--folds", "4")
    assert [fold["test"][0] for fold in found["folds"]] == ["2018-08-08", "2018-08-15", "2018-08-22", "2018-08-29"]
    assert set(found["mean"]) == {"roc_auc", "average_precision", "card_precision_at_100"}
    assert found["mean"]["average_precision"] > 0.694
    assert found["mean"]["roc_auc"] > 0.879
    assert found["mean"]["card_precision_at_100"] >= 0.305
    (ours,) = re.findall(
        r"^\| \*\*Tidemill, XGBoost\*\* \|(.*)\|$", (ROOT / "docs" / "fraud.md").read_text(), re.MULTILINE
    )
    written = [float(figure) for figure in re.findall(r"\*\*(\.\d+)\*\*", ours)]
    measured = [found["mean"][name] for name in ("roc_auc", "average_precision", "card_precision_at_100")]
    assert written == pytest.approx(measured, abs=0.001), "docs/fraud.md does not show what its commands make"
