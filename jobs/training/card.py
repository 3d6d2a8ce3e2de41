"""The model card: what a release is, from the run's own figures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.spec import Model, Project
from jobs.training.tasks import task_of

_TEMPLATE = Path(__file__).with_suffix(".md.jinja")
DESCRIBED = 5_000
"""As many characters as MLflow keeps of a version's description."""
_UNKNOWN = "–"
_VALUE = re.compile(r"\{[^}]*\}")


def card(
    project: Project,
    model: Model,
    evaluation: Mapping[str, Any],
    training: Mapping[str, Any],
    pictures: Sequence[str] = (),
) -> str:
    """The model card as Markdown, naming the pictures that lie beside it."""
    found = evaluation["models"][model.name]
    figures = [(f"**{found['picked']}**", found["challenger"]), *found["baselines"].items()]
    champion = found["champion"] or {}
    if "metrics" in champion:
        figures.append((f"champion {champion['release']}", champion["metrics"]))
    importance = found["explanations"]["importance"]
    return _rendered(
        project=project,
        model=model,
        run=evaluation["run"],
        evaluation=evaluation,
        training=training,
        found=found,
        champion=champion,
        figures=figures,
        metrics=task_of(model).metrics,
        inputs=sorted(model.told, key=lambda name: -importance[name]),
        reasons={reason.input: _VALUE.sub("…", reason.text) for reason in model.reasons},
        pictures=pictures,
    )


def shortened(text: str, characters: int = DESCRIBED) -> str:
    """As many whole sections of a card as fit, and which are left out."""
    title, *sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    if len(text) <= characters:
        return text
    kept, left = title, [one.partition("\n")[0].removeprefix("## ") for one in sections]
    for one in sections:
        more = f"The rest is in this version's files: {', '.join(left[1:])}.\n"
        if len(kept) + len(one) + len(more) > characters:
            break
        kept, left = kept + one, left[1:]
    return kept + f"The rest is in this version's files: {', '.join(left)}.\n"


def timing(model: Model, times: Mapping[str, Any]) -> str:
    """The part of a card that differs from machine to machine: microseconds to read and compute the inputs."""
    lines = [f"# {model.name}: time to read and compute, on the machine that evaluated", ""]
    lines += ["| input | µs to read what it needs, by itself |", "|---|---:|"]
    lines += [f"| `{name}` | {_number(times['inputs'][name], 1)} |" for name in model.told]
    views = ", ".join(f"`{name}` {_number(value, 1)} µs" for name, value in times["views"].items())
    lines += [
        "",
        f"Reading all of an entity's values: {views}, without the round trip to a store. "
        f"`features.request` makes all inputs at once: {_number(times['request'], 1)} µs for a row alone, "
        f"{_number(times['request_of_1000'], 2)} µs for a row among a thousand.",
        "",
    ]
    return "\n".join(lines)


def _rendered(**values: Any) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - Markdown, and every value is ours
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "number": _number,
        "signed": lambda value: _UNKNOWN if value is None else f"{value:+.4f}",
        "whole": lambda value: f"{value:,}",
        "percent": lambda value: _UNKNOWN if value is None else f"{100 * value:.2f} %",
        "interval": _interval,
        "days": lambda days: days[0] if days[0] == days[1] else f"{days[0]} to {days[1]}",
    }
    return environment.from_string(_TEMPLATE.read_text()).render(**values)


def _number(value: float | None, digits: int = 4) -> str:
    return _UNKNOWN if value is None else f"{value:,.{digits}f}"


def _interval(figures: Mapping[str, Any], sign: str = "") -> str:
    """An interval's ends, or that there is none."""
    low, high = figures.get("low"), figures.get("high")
    return "undefined" if low is None or high is None else f"{low:{sign}.4f} to {high:{sign}.4f}"
