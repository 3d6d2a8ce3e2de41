"""HTML pages that open without a network: one base template, every value escaped, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any


def page(template: str, **values: Any) -> str:
    """The page that a template of this folder gives for these values, every one of them escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template(template).render(**values)


def inline(path: Path) -> str:
    """A PNG file as a data URL, so that its page needs nothing else."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
