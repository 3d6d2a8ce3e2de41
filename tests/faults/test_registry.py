"""The registry and the tests say the same: every id has a test, and no test names an unknown id."""

from __future__ import annotations

import ast
from pathlib import Path

import yaml

TESTS = Path(__file__).resolve().parents[1]


def marked() -> dict[str, list[str]]:
    """Test functions by the fault id they are marked with, read from the sources."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr != "fault":
                continue
            for argument in node.args:
                if isinstance(argument, ast.Constant):
                    found.setdefault(str(argument.value), []).append(f"{path.relative_to(TESTS)}:{node.lineno}")
    return found


def test_every_registered_fault_is_injected_by_a_test() -> None:
    registered = {entry["id"] for entry in yaml.safe_load((TESTS / "faults" / "registry.yaml").read_text())}
    missing = sorted(registered - set(marked()))
    assert not missing, f"no test carries pytest.mark.fault for {missing}; write one or remove the claim"


def test_every_injected_fault_is_registered() -> None:
    registered = {entry["id"] for entry in yaml.safe_load((TESTS / "faults" / "registry.yaml").read_text())}
    unknown = {fault: places for fault, places in marked().items() if fault not in registered}
    assert not unknown, f"add these to tests/faults/registry.yaml: {unknown}"
