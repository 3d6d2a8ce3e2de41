"""The README's table of how good each project's models are: `.venv/test/bin/python -m tests.readme` writes it.

The figures stand in one place, the table that begins with `HEADER` on each project's page.
"""

from __future__ import annotations

import re
from pathlib import Path

from jobs.settings import ROOT
from jobs.storage import write_atomically

README, DOCS = ROOT / "README.md", ROOT / "docs"
HEADER = "| metric | champion | published | ours | command |"
HEADING, NEXT = "## How good the models are", "\n## "


def figures(page: Path) -> list[list[str]]:
    """The cells of each row of a page's table of figures; none where it has no such table."""
    _, found, rest = page.read_text().partition(f"{HEADER}\n")
    rows = rest.split("\n\n")[0].splitlines()[1:] if found else []
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip("|"))] for row in rows]


def table() -> str:
    """A row for each of all pages' rows, with a link to its page."""
    rows = [
        f"| [{page.stem}](docs/{page.name}) | {' | '.join(row)} |"
        for page in sorted(DOCS.glob("*.md"))
        for row in figures(page)
    ]
    return "\n".join([f"| project {HEADER}", "|---|---|---|---:|---:|---|", *rows])


def with_table(readme: str) -> str:
    """The README with the table in place of the one below its heading."""
    before, heading, rest = readme.partition(f"{HEADING}\n")
    text, following, after = rest.partition(NEXT)
    words = text.split("\n| project ")[0].rstrip()
    return f"{before}{heading}{words}\n\n{table()}\n{following}{after}"


if __name__ == "__main__":
    write_atomically(README, with_table(README.read_text()).encode())
    print(f"wrote the table of {README}")
