"""`make proof`: every bad case and ten good candidates, for real; writes docs/proof.md.

Results go to `$TIDEMILL_HOME/proof/results.json` as they come. Some of it: `python -m tests.proof --only traffic`, or
`--case "dead candidate"`; the page from results that are there: `--page`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from jobs.progress import steps
from jobs.settings import ROOT
from tests.proof import data, forged, good, trained, walks
from tests.proof.case import Case, judged
from tests.proof.home import home
from tests.proof.page import page

Row = dict[str, Any]
CASES: dict[str, tuple[Case[Any], ...]] = {
    "data": (*data.INGESTED, *data.VALIDATED),
    "training": (*trained.FAST, *trained.SLOW),
    "release": forged.CASES,
    "traffic": walks.CASES,
}
PLACES: dict[str, tuple[Callable[[], AbstractContextManager[Any]], tuple[str, ...]]] = {
    "home": (home, ("data", "training", "release")),
    "traffic": (walks.walks, ("traffic",)),
}


def _bad(case: Case[Any], place: Any) -> Row:
    row = judged(case, place)
    print(f"{'ok ' if row.ok else 'NOT'} {row.name}: {row.seen.stage}, {row.seen.guard} ({row.seconds} s)", flush=True)
    return row.document()


def _good(name: str, run: Callable[[Any], Any], place: Any) -> Row:
    seen = run(place)
    print(f"{'NOT' if seen.caught else 'ok '} {name}, a good one: {seen.stage} {seen.guard}", flush=True)
    return {"name": name, **asdict(seen)}


def _wanted(where: str, only: list[str] | None) -> list[tuple[str, str, Callable[[Any], Row]]]:
    """Group, name and what runs it, of what is wanted in a place."""
    found = [(group, case.name, partial(_bad, case)) for group in PLACES[where][1] for case in CASES[group]]
    found += [("good", name, partial(_good, name, run)) for name, run in good.CANDIDATES[where].items()]
    return [one for one in found if only is None or one[1] in only]


def _known(path: Path) -> dict[str, Row]:
    found: dict[str, Row] = json.loads(path.read_bytes()) if path.exists() else {}
    return found


def main() -> int:
    """0 when every bad case was caught as expected, through without its guard, and at most one good one refused."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("--only", choices=sorted(PLACES), help="by default all")
    parser.add_argument("--case", action="append", help="one of them, by its name")
    parser.add_argument("--page", action="store_true", help="run nothing; write the page from the results")
    options = parser.parse_args()
    path = Path(os.environ.get("TIDEMILL_HOME", ROOT / "var")) / "proof" / "results.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    results = _known(path)
    todo = (
        {} if options.page else {name: _wanted(name, options.case) for name in PLACES if options.only in (None, name)}
    )
    with steps(sum(map(len, todo.values()))) as told:
        for name, wanted in todo.items():
            if not wanted:
                continue
            told.say(f"begins: {name}")
            began = time.monotonic()
            with PLACES[name][0]() as place:
                for group, what, run in wanted:
                    told.say(what)
                    try:
                        row = run(place)
                    except Exception:  # the others go on; the page is not written without this one
                        traceback.print_exc()
                        continue
                    row |= {
                        "took": time.monotonic() - began,
                        "load": os.getloadavg()[0],
                        "date": f"{datetime.now(UTC):%Y-%m-%d}",
                    }
                    began = time.monotonic()
                    results = _known(path) | {f"{group}: {what}": row}
                    path.write_text(json.dumps(results, indent=1))
                    told.advance()
    every = {f"{group}: {what}" for name in PLACES for group, what, _ in _wanted(name, None)}
    if missing := sorted(every - set(results)):
        print(f"docs/proof.md was left as it is: {', '.join(missing)} never ran", file=sys.stderr)
        return 1
    kept = {name: results[name] for name in sorted(every)}
    (ROOT / "docs" / "proof.md").write_text(page(together(kept)))
    bad = [name for name, one in kept.items() if one.get("ok") is False]
    refused = sum(one["caught"] for name, one in kept.items() if name.startswith("good: "))
    print(f"not as expected: {', '.join(bad) or 'none'}; good ones refused: {refused}")
    return int(bool(bad) or refused > 1)


def together(rows: dict[str, Row]) -> dict[str, Any]:
    """What the page is made of: rows by group in the order they are declared in, and how it was run."""
    found = {group: [rows[f"{group}: {case.name}"] for case in cases] for group, cases in CASES.items()}
    names = [name for place in PLACES for name in good.CANDIDATES[place]]
    return {
        "cases": found,
        "good": [rows[f"good: {name}"] for name in names],
        "date": max(row["date"] for row in rows.values()),
        "seconds": sum(row["took"] for row in rows.values()),
        "cores": os.cpu_count(),
        "load": sorted(row["load"] for row in rows.values())[len(rows) // 2],
    }


if __name__ == "__main__":
    sys.exit(main())
