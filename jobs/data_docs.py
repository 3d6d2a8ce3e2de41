"""Great Expectations' pages, made to open without a network, and an index of them.

Its stock pages load their styles, icons and index from a dozen third parties; behind a closed network the
index stays empty. What is loaded from elsewhere is cut out and a small style of our own put in.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from jobs.pages import page
from jobs.storage import write_atomically

_FOREIGN = re.compile(
    r"<link\b[^>]*\bhref=\"https?:[^>]*>|<script\b[^>]*\bsrc=\"https?:[^>]*>\s*(</script>)?|<img\b[^>]*\bsrc=\"https?:[^>]*>",
    re.IGNORECASE,
)
_STYLE = """<style>
  body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto !important; max-width: 72rem; padding: 0 1rem; }
  table { border-collapse: collapse; } th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #dde3ea; }
  .fa-check-circle::before { content: "\\2714"; color: #1a6b3c; } .fa-times::before { content: "\\2718"; color: #a4262c; }
  .fa-exclamation-triangle::before { content: "\\26A0"; color: #8a5a00; } i { font-style: normal; }
  .ge-breadcrumbs, .breadcrumb { list-style: none; padding: 0; } .navbar, footer, .cooltip, [class*="cta-footer"] { display: none; }
</style></head>"""
_OURS = "<!-- opens without a network -->"
_NEWEST = 200


def finish(folder: Path) -> Path:
    """Makes every page below the folder independent of the network and writes their index; returns the index.

    A page whose result is no longer kept is removed.
    """
    for path in (folder / "validations").rglob("*.html"):
        if not _result(folder, path).exists():
            path.unlink(missing_ok=True)  # another validation may be at it as well
    for path in folder.rglob("*.html"):
        text = path.read_text()
        if path.name != "index.html" and _OURS not in text:
            text = _FOREIGN.sub("", text).replace("</head>", f"{_STYLE}{_OURS}", 1)
            write_atomically(path, text.encode())
    index = folder / "index.html"
    write_atomically(index, page("expectations.html.j2", **_found(folder)).encode())
    return index


def _result(folder: Path, page: Path) -> Path:
    return (folder / "results" / page.relative_to(folder / "validations")).with_suffix(".json")


def _found(folder: Path) -> dict[str, object]:
    rows: dict[str, dict[str, dict[str, object]]] = {}
    tables = set()
    for path in sorted((folder / "validations").glob("*/*/*/*/*.html"), key=lambda one: one.parts[-3])[-_NEWEST:]:
        project, table, batch = path.parts[-5:-2]
        try:
            found = json.loads(_result(folder, path).read_bytes())
        except FileNotFoundError:
            continue
        counts = found["statistics"]
        name = f"{project}.{table}"
        tables.add(name)
        rows.setdefault(batch, {})[name] = {
            "link": path.relative_to(folder).as_posix(),
            "passed": found["success"],
            "says": f"{counts['successful_expectations']} of {counts['evaluated_expectations']} hold",
        }
    suites = [
        {"link": path.relative_to(folder).as_posix(), "name": f"{path.parent.name}.{path.stem}"}
        for path in sorted((folder / "expectations").glob("*/*.html"))
    ]
    return {"rows": sorted(rows.items(), reverse=True), "tables": sorted(tables), "suites": suites}
