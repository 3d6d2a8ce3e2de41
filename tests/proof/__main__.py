"""`make proof`: every bad case of every project, and good candidates, for real; writes docs/proof.md.

Results go to `$TIDEMILL_HOME/proof/results.json` as they come. Some of it: `make proof PROJECT=ads`, or
`python -m tests.proof --project ads --only home --case "stale features"`; the page from results that are there: `--page`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from jobs.progress import steps
from jobs.projects import NAMES, PROJECTS
from jobs.settings import ROOT
from tests.proof import data, forged, good, trained, walks
from tests.proof.case import Case, judged
from tests.proof.home import home
from tests.proof.page import page

Row = dict[str, Any]
Results = dict[str, dict[str, Row]]
"""Project → group and name → what came of it."""
Run = Callable[[Any], Row]
PLACES: dict[str, Callable[[str], AbstractContextManager[Any]]] = {"home": home, "traffic": walks.walks}
_WHERE = {"data": "home", "training": "home", "release": "home", "traffic": "traffic"}


def cases(name: str) -> dict[str, tuple[Case[Any], ...]]:
    """Every case of a project by group, those that do not apply to it included."""
    of = {"data": data, "training": trained, "release": forged, "traffic": walks}
    return {group: module.of_project(PROJECTS[name]) for group, module in of.items()}  # type: ignore[attr-defined]


def candidates(name: str) -> dict[str, dict[str, Callable[[Any], Any]]]:
    """The good candidates of a project by place."""
    return {"home": dict(good.CANDIDATES), "traffic": walks.good(PROJECTS[name])}


def _bad(case: Case[Any], place: Any) -> Row:
    row = judged(case, place)
    print(f"{'ok ' if row.ok else 'NOT'} {row.name}: {row.seen.stage}, {row.seen.guard} ({row.seconds} s)", flush=True)
    return row.document()


def _good(name: str, run: Callable[[Any], Any], place: Any) -> Row:
    seen = run(place)
    print(f"{'NOT' if seen.caught else 'ok '} {name}, a good one: {seen.stage} {seen.guard}", flush=True)
    return {"name": name, **asdict(seen)}


def wanted(project: str, where: str, only: Sequence[str] | None = None) -> dict[str, Run]:
    """What runs each of a project's cases and good candidates in a place, by group and name."""
    found: dict[str, Run] = {
        f"{group}: {case.name}": partial(_bad, case)
        for group, of_group in cases(project).items()
        for case in of_group
        if _WHERE[group] == where and not case.why_not
    }
    found |= {f"good: {name}": partial(_good, name, run) for name, run in candidates(project)[where].items()}
    return {key: run for key, run in found.items() if only is None or key.partition(": ")[2] in only}


def _known(path: Path) -> Results:
    found: Results = json.loads(path.read_bytes()) if path.exists() else {}
    return found


def _run(project: str, where: str, todo: dict[str, Run], path: Path, told: Any) -> None:
    """Runs what is to do in a place of its own, and writes each result as it comes."""
    told.say(f"begins: {project}, {where}")
    began, spent = time.monotonic(), _cpu()
    with PLACES[where](project) as place:
        for key, run in todo.items():
            told.say(f"{project}: {key}")
            try:
                row = run(place)
            except Exception:  # the others go on; the page is not written without this one
                traceback.print_exc()
                continue
            row |= {
                "took": time.monotonic() - began, "spent": _cpu() - spent, "load": os.getloadavg()[0],
                "date": f"{datetime.now(UTC):%Y-%m-%d}",
            }  # fmt: skip
            began, spent = time.monotonic(), _cpu()
            results = _known(path)
            results.setdefault(project, {})[key] = row
            path.write_text(json.dumps(results, indent=1))
            told.advance()


def _cpu() -> float:
    """Seconds of processors, this process's and those of the ones that it waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main() -> int:
    """0 when every bad case was caught as expected, through without its guard, and at most one good one refused."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("--project", action="append", choices=NAMES, help="by default all")
    parser.add_argument("--only", choices=sorted(PLACES), help="by default all")
    parser.add_argument("--case", action="append", help="one of them, by its name")
    parser.add_argument(
        "--missing", action="store_true", help="only what has no result, or not the one that it should have"
    )
    parser.add_argument("--page", action="store_true", help="run nothing; write the page from the results")
    options = parser.parse_args()
    path = Path(os.environ.get("TIDEMILL_HOME", ROOT / "var")) / "proof" / "results.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    asked = [
        (project, where) for project in options.project or NAMES for where in PLACES if options.only in (None, where)
    ]
    todo = {} if options.page else {one: wanted(*one, options.case) for one in asked}
    if options.missing:
        fine = {name: {key for key, row in rows.items() if row.get("ok", True)} for name, rows in _known(path).items()}
        todo = {
            one: {key: run for key, run in found.items() if key not in fine.get(one[0], ())}
            for one, found in todo.items()
        }
    with steps(sum(map(len, todo.values()))) as told:
        for (project, where), found in todo.items():
            if found:
                _run(project, where, found, path, told)
    told_of = {name: together(name, _known(path).get(name, {})) for name in NAMES}
    (ROOT / "docs" / "proof.md").write_text(page(told_of))
    return _concluded({name: told_of[name] for name in options.project or NAMES})


def together(name: str, rows: dict[str, Row]) -> dict[str, Any]:
    """What the page says of a project: rows by group in the order they are declared in, and how it was run."""
    by_group, keys = cases(name), [key for where in PLACES for key in wanted(name, where)]
    mine = [rows[key] for key in keys if key in rows]
    dates = sorted({row["date"] for row in mine})
    newest = [row for row in mine if row["date"] == dates[-1]]
    named = {group: [f"{group}: {case.name}" for case in found] for group, found in by_group.items()}
    good = [f"good: {one}" for where in PLACES for one in candidates(name)[where]]
    return {
        "cases": {group: [rows[key] for key in found if key in rows] for group, found in named.items()},
        "left_out": {group: [(case.name, case.why_not) for case in found if case.why_not] for group, found in by_group.items()},
        "missing": [key.partition(": ")[2] for key in keys if key not in rows],
        "good": [rows[key] for key in good if key in rows],
        "dates": dates,
        "seconds": sum(row["took"] for row in newest),
        "cores": os.cpu_count(),
        "load": sorted(row["load"] for row in newest)[len(newest) // 2] if newest else 0.0,
    }  # fmt: skip


def _concluded(results: dict[str, dict[str, Any]]) -> int:
    """Says what is not as it should be; 0 when nothing is."""
    rows = {name: [row for found in one["cases"].values() for row in found] for name, one in results.items()}
    bad = [f"{name}: {row['name']}" for name, found in rows.items() for row in found if not row["ok"]]
    missing = [f"{len(result['missing'])} of {name}" for name, result in results.items() if result["missing"]]
    refused = {name: sum(one["caught"] for one in result["good"]) for name, result in results.items()}
    print(f"not as expected: {', '.join(bad) or 'none'}; good ones refused: {refused}")
    if missing:
        print(f"docs/proof.md names what never ran: {', '.join(missing)}; `--missing` runs it", file=sys.stderr)
    return int(bool(bad or missing) or max(refused.values()) > 1)


if __name__ == "__main__":
    sys.exit(main())
