"""The model card: what a release is, from the run's own figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.spec import Model, Project
from jobs.training.metrics import METRICS

_TEMPLATE = Path(__file__).with_suffix(".md.jinja")


def card(project: Project, model: Model, evaluation: Mapping[str, Any], training: Mapping[str, Any]) -> str:
    """The model card as Markdown."""
    from jinja2 import Environment, StrictUndefined

    found = evaluation["models"][model.name]
    rows = [(f"**{found['picked']}**", found["challenger"]), *found["baselines"].items()]
    champion = found["champion"]
    if champion and "metrics" in champion:
        rows.append((f"champion {champion['release']}", champion["metrics"]))
    template = Environment(
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - Markdown, and every value is ours
        trim_blocks=True,
        keep_trailing_newline=True,
    ).from_string(_TEMPLATE.read_text())
    return template.render(
        project=project,
        model=model,
        run=evaluation["run"],
        evaluation=evaluation,
        training=training,
        found=found,
        rows=rows,
        metrics=METRICS,
    )
