"""The registry as a value, and which tests say that they inject which of its faults."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import yaml

TESTS = Path(__file__).resolve().parents[1]
REGISTRY: list[dict[str, Any]] = yaml.safe_load((TESTS / "faults" / "registry.yaml").read_text())


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
