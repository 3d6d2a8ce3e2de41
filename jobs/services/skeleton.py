"""`tidemill new`: another project's own folders under a new name, and the line that declares it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from jobs.errors import UsageError
from jobs.projects import NAMES, find
from jobs.result import Result
from jobs.settings import ROOT
from jobs.storage import write_atomically

FOLDERS = ("jobs/projects/{}", "bentos/{}", "dbt/models/staging/{}", "dbt/models/marts/{}", "expectations/{}")
"""A project's own: nothing else in the repository knows its name."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")


def new(name: str, like: str, root: Path = ROOT) -> Result:
    """Copies a project's folders with its name replaced, and adds it to the list of projects.

    Raises UsageError, having written nothing, for a name that is not lower-case letters, digits and _, or is taken.
    """
    like = find(like).name
    if not _NAME.match(name):
        raise UsageError(f"{name[:80]!r} is no project name: lower-case letters, digits and _, a letter first")
    taken = [str(folder) for folder in (root / one.format(name) for one in FOLDERS) if folder.exists()]
    if name in NAMES or taken:
        raise UsageError(f"there is a project {name!r} already ({', '.join(taken)}); nothing was written")
    files = {
        path: root / one.format(name) / _renamed(path.relative_to(folder).as_posix(), like, name)
        for one in FOLDERS
        for folder in [root / one.format(like)]
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    marts = [path.stem for path in (root / FOLDERS[3].format(like)).glob("*.sql")]
    for path, copy in files.items():
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(copy, replaced(path.read_text(), like, name, marts).encode())
    _declare(root / "jobs" / "projects" / "__init__.py", name)
    written = [copy.relative_to(root).as_posix() for copy in files.values()]
    facts = {"project": name, "like": like, "files": written}
    return Result(
        line=f"{name} is {like} under another name: {len(written)} files in "
        f"{', '.join(one.format(name) for one in FOLDERS)}, and a line in jobs/projects/__init__.py. "
        f"Change them file by file; `tidemill explain {name}` and tests/test_projects.py say what does not fit yet. "
        "docs/add-a-project.md goes on from here",
        facts=facts,
    )


def replaced(text: str, like: str, name: str, marts: Sequence[str]) -> str:
    """The text of a project's file with the names by which the rest of the repository finds its parts replaced.

    What the words of its domain are, is left: columns, sources and views keep their names.

    >>> replaced('ADS = Project(name="ads")  # of stg_ads__clicks, ads_spine and the ads', "ads", "news", ["ads_spine"])
    'NEWS = Project(name="news")  # of stg_news__clicks, news_spine and the ads'
    """
    shout, titled = like.upper(), _title(like)
    for mart in marts:
        text = re.sub(rf"\b{mart}\b", _renamed(mart, like, name), text)
    for old, new in (
        (
            rf"(?<=import ){shout}$|^{shout}(?= = (?:spec\.)?Project)|\b{shout}(?=\.name)|(?<=Runtime\(){shout}\b",
            name.upper(),
        ),
        (rf"\bstg_{like}__", f"stg_{name}__"),
        (rf"(?<=projects\.){like}\b|(?<=bentos\.){like}\b|(?<=bentos ){like}\b", name),
        (rf"(['\"]){like}\1", rf"\g<1>{name}\g<1>"),
        (rf"(?<=- name: ){like}$", name),
        (rf"(?<=\"name\": \"){like}(?=\.)", name),
        (rf"(?<=:){titled}\b|(?<=class ){titled}\b|^{titled}(?=\.add)", _title(name)),
    ):
        text = re.sub(old, new, text, flags=re.MULTILINE)
    return text


def _renamed(path: str, like: str, name: str) -> str:
    """A file's or a mart's name with the project's at its start, or behind `stg_`, replaced."""
    return re.sub(rf"(^|/|\bstg_){like}(?=_)", rf"\g<1>{name}", path)


def _title(name: str) -> str:
    return name.title().replace("_", "")


def _declare(path: Path, name: str) -> None:
    """Adds the project to `NAMES`, last."""
    text = path.read_text()
    start = text.index("NAMES = (")
    end = text.index("\n)", start)
    write_atomically(path, f'{text[:end]}\n    "{name}",{text[end:]}'.encode())
