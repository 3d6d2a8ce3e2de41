"""`make faults`: injects every fault of the registry, or those named; faults.json, docs/faults.md and the README say what came of it.

A fault is survived if it has a test, and each of its tests ran and passed: skipped is not survived. Of a run of some
faults, the others keep what their newest run showed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from jobs.settings import HOME
from jobs.storage import write_atomically
from tests import readme
from tests.faults.page import PAGE, page
from tests.faults.registry import REGISTRY, TESTS, marked

RESULTS = HOME / "faults" / "faults.json"


class Injected:
    """pytest's plugin that keeps the tests of the chosen faults, and what each of them came to."""

    def __init__(self, chosen: set[str]) -> None:
        self.chosen = chosen
        self.tests: dict[str, dict[str, Any]] = {}
        self.by_fault: dict[str, list[str]] = {}

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        kept, left = [], []
        for item in items:
            mine = {str(mark.args[0]) for mark in item.iter_markers("fault")} & self.chosen
            (kept if mine else left).append(item)
            for fault in mine:
                self.by_fault.setdefault(fault, []).append(item.nodeid)
        items[:] = kept
        config.hook.pytest_deselected(items=left)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        seen = self.tests.setdefault(report.nodeid, {"test": report.nodeid, "outcome": "passed", "seconds": 0.0})
        seen["seconds"] = round(seen["seconds"] + report.duration, 2)
        if report.outcome != "passed" and seen["outcome"] != "failed":
            seen["outcome"] = report.outcome

    def results(self, date: str) -> dict[str, Any]:
        """What came of each chosen fault."""
        found = {}
        for fault in self.chosen:
            never = {"outcome": "not run", "seconds": 0.0}
            tests = [self.tests.get(name, {"test": name} | never) for name in self.by_fault.get(fault, [])]
            survived = bool(tests) and all(test["outcome"] == "passed" for test in tests)
            found[fault] = {"survived": survived, "date": date, "tests": tests}
        return found


def main(arguments: Sequence[str]) -> int:
    """Pytest's exit code, once the results are written."""
    known = [str(entry["id"]) for entry in REGISTRY]
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description="Injects faults and writes what came of it."
    )
    parser.add_argument("faults", nargs="*", metavar="FAULT", help="F01, for one; all without any")
    chosen = set(parser.parse_args(arguments).faults) or set(known)
    if unknown := sorted(chosen - set(known)):
        parser.error(f"the registry has no {', '.join(unknown)}; it has {known[0]} to {known[-1]}")
    places = marked()
    files = {place.rpartition(":")[0] for fault in chosen for place in places.get(fault, [])}
    injected, wanted = Injected(chosen), [str(TESTS / file) for file in sorted(files)]
    code = pytest.main(["-q", "-p", "no:xdist", "-m", "fault", *wanted], plugins=[injected]) if wanted else 0
    now = datetime.now(UTC)
    kept = json.loads(RESULTS.read_text())["faults"] if RESULTS.is_file() else {}
    found = {fault: one for fault, one in (kept | injected.results(now.date().isoformat())).items() if fault in known}
    document = {
        "at": now.isoformat(timespec="seconds"),
        "survived": sum(one["survived"] for one in found.values()),
        "of": len(known),
        "faults": dict(sorted(found.items())),
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(RESULTS, json.dumps(document, indent=1).encode())
    write_atomically(PAGE, page(document).encode())
    readme.write()
    print(f"faults survived: {document['survived']} of {document['of']}; see {RESULTS} and {PAGE}")
    return int(code)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
