"""What the documentation names exists: commands with their options, make targets, files, and the demo's steps."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from demo.steps import STEPS
from jobs.__main__ import app
from jobs.projects import NAMES
from tests import readme

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
COMMANDS: Any = typer.main.get_command(app)


def named_commands() -> list[tuple[str, str]]:
    """Every `tidemill …` that a page shows as code, by page."""
    found = []
    for page in PAGES:
        text = page.read_text()
        code = (
            "\n".join(re.findall(r"```\n(.*?)```", text, re.DOTALL))
            + "\n"
            + "\n".join(re.findall(r"`([^`\n]+)`", text))
        )
        lines = [line.split("#")[0].strip() for line in code.splitlines()]
        found += [(page.name, line) for line in lines if re.match(r"tidemill [a-z]", line)]
    return found


def resolve(words: list[str]) -> tuple[Any, list[str]]:
    command: Any = COMMANDS
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, f"there is no command {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


def options(words: list[str]) -> set[str]:
    return {word for word in words if word.startswith("--")}


def known(command: Any) -> set[str]:
    """The options a command has; of one that passes them on, those that the pages give it."""
    if command.context_settings.get("allow_extra_args"):
        return {"--dag-id", "--from-date", "--to-date", "--max-active-runs"}
    return {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize(("page", "line"), named_commands())
def test_a_documented_command_exists_with_its_options(page: str, line: str) -> None:
    command, rest = resolve([word for word in shlex.split(line)[1:] if word != "…"])
    assert options(rest) <= known(command), f"{page}: {line}"


def every_command(group: Any, path: str = "tidemill") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, command in group.commands.items():
        inner = f"{path} {name}"
        found += every_command(command, inner) if hasattr(command, "commands") else [(inner, command)]
    return found


@pytest.mark.parametrize(
    ("path", "command"), every_command(COMMANDS), ids=lambda one: one if isinstance(one, str) else ""
)
def test_a_command_has_help_and_an_example_that_parses(path: str, command: Any) -> None:
    assert command.help
    assert (command.epilog or "").startswith(f"Example: {path}")
    example = (command.epilog or "").removeprefix("Example: ").split(". ")[0]
    assert options(resolve(shlex.split(example)[1:])[1]) <= known(command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_leads_somewhere(page: Path) -> None:
    links = [
        link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", page.read_text()) if not link.startswith("http")
    ]
    missing = [link for link in links if link and not (page.parent / link).exists()]
    assert not missing, f"{page.name} links to {missing}"


def test_a_documented_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = {
        target for page in PAGES for target in re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)", page.read_text(), re.M)
    }
    for target in {one or two for one, two in named}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"the Makefile has no target {target}"


def test_the_readme_names_every_step_of_the_demo_in_order() -> None:
    table = (ROOT / "README.md").read_text().split("## What the demo shows")[1].split("## By hand")[0]
    steps = [step.__name__ for step in STEPS]
    assert [name for name in re.findall(r"`([a-z_]+)`", table) if name in steps] == steps


def test_the_readme_has_the_figures_of_the_projects_pages() -> None:
    text = readme.README.read_text()
    assert text == readme.with_table(text), "run `.venv/test/bin/python -m tests.readme`"


@pytest.mark.parametrize("name", NAMES)
def test_a_page_tells_again_where_the_figures_of_its_table_come_from(name: str) -> None:
    text = (ROOT / "docs" / f"{name}.md").read_text()
    rows = readme.figures(ROOT / "docs" / f"{name}.md")
    assert rows, f"docs/{name}.md has no table that begins with {readme.HEADER}"
    for metric, _, published, ours, _ in rows:
        for figure in re.findall(r"[\d.]+", f"{published} {ours}"):
            assert len(re.findall(rf"(?<![\d.]){re.escape(figure)}(?!\d)", text)) > 1, f"{metric}: {figure}"
