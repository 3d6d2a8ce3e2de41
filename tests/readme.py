"""What the README repeats from the pages in docs/: `.venv/test/bin/python -m tests.readme` writes it.

How good each project's models are stands in the table that begins with `HEADER` on the project's page, and how many
faults were survived on the page of faults.
"""

from __future__ import annotations

import re
from pathlib import Path

from jobs.settings import ROOT
from jobs.storage import write_atomically
from tests.faults.page import PAGE, survived

README, DOCS = ROOT / "README.md", ROOT / "docs"
HEADER = "| metric | champion | published | ours | command |"
HEADING, NEXT = "## How good the models are", "\n## "
BEGIN, END = "<!-- faults survived, from docs/faults.md -->", "<!-- end -->"


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


def with_figure(readme: str) -> str:
    """The README with the number of faults survived between its markers."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    of = survived(PAGE.read_text()) or (0, 0)
    return f"{before}{BEGIN}\n**Faults survived: {of[0]} of {of[1]}** ([which, and by what tests](docs/faults.md)).\n{END}{after}"


def write() -> None:
    """Writes both into the README."""
    write_atomically(README, with_figure(with_table(README.read_text())).encode())


if __name__ == "__main__":
    write()
    print(f"wrote the table and the figure of {README}")
