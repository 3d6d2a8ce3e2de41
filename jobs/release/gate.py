"""Whether a challenger may be registered: a pure function of an evaluation, with no way to turn it off.

Whatever is missing, undefined or about other data counts as failed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from jobs.release.checks import Check
from jobs.spec import Gate, Model, Project, Threshold
from jobs.training.metrics import LOWER_IS_BETTER


def judge(
    project: Project,
    evaluation: Mapping[str, Any],
    *,
    snapshot: str,
    candidates: Mapping[str, Mapping[str, str]],
    champion: str | None,
) -> list[Check]:
    """Every rule held against the evaluation; the challenger passes when all of them do.

    `snapshot`, `candidates` (model → library → digest) and `champion` are the digests that are current
    now: an evaluation of anything else decides nothing.
    """
    checks = [_same("snapshot", evaluation.get("snapshot"), snapshot)]
    negative = evaluation.get("negative_control")
    told = (
        "it learned from the labels as they are" if negative is False else "it is a negative control, or does not say"
    )
    checks.append(_flag("labels", negative is False, told))
    for model in project.models:
        found = evaluation.get("models", {}).get(model.name)
        if not isinstance(found, Mapping):
            checks.append(_flag(f"{model.name}: evaluated", False, "the evaluation does not mention it"))
            continue
        picked = str(found.get("picked"))
        known = candidates.get(model.name, {}).get(picked, "missing")
        stated = (found.get("candidates") or {}).get(picked, {}).get("digest")
        checks.append(_same(f"{model.name}: candidate {picked}", stated, known))
        checks += _model(model, project.gate, found, champion)
    return checks


def passed(checks: Iterable[Check]) -> bool:
    """Whether there are checks and all passed."""
    checks = list(checks)
    return bool(checks) and all(check.passed for check in checks)


def _model(model: Model, gate: Gate, found: Mapping[str, Any], champion: str | None) -> Iterable[Check]:
    ours = found.get("challenger") or {}
    for name, least in (("rows", gate.minimum_rows), ("positives", gate.minimum_positives)):
        yield _at_least(f"{model.name}: {name}", found.get(name), least)
    for library in model.baselines:
        theirs = (found.get("baselines") or {}).get(library) or {}
        yield _beats(f"{model.name}: {model.metric} beats {library}", model.metric, ours, theirs)
    rival = found.get("champion") or {}
    yield _same(f"{model.name}: champion compared with", rival.get("digest"), champion)
    for threshold in gate.thresholds:
        value, name = _number(ours.get(threshold.metric)), f"{model.name}: {threshold.metric}"
        if threshold.minimum is not None:
            yield _at_least(f"{name} at least", value, threshold.minimum)
        if threshold.maximum is not None:
            yield _at_most(f"{name} at most", value, threshold.maximum)
        if threshold.allowed_regression is not None and champion is not None:
            yield _regression(name, threshold, value, rival)


def _regression(name: str, threshold: Threshold, value: float | None, rival: Mapping[str, Any]) -> Check:
    theirs = _number((rival.get("metrics") or {}).get(threshold.metric))
    allowed = threshold.allowed_regression or 0.0
    if theirs is None:
        why = rival.get("refused", "the evaluation holds no such figure of it")
        return _flag(f"{name} against the champion", False, f"the champion could not be measured: {why}")
    if threshold.metric in LOWER_IS_BETTER:
        return _at_most(f"{name} against the champion", value, theirs + allowed)
    return _at_least(f"{name} against the champion", value, theirs - allowed)


def _beats(name: str, metric: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Check:
    value, bound = _number(ours.get(metric)), _number(theirs.get(metric))
    better = value is not None and bound is not None and (value < bound if metric in LOWER_IS_BETTER else value > bound)
    return Check(name=name, value=value, bound=bound, passed=better, detail=f"{_text(value)} against {_text(bound)}")


def _at_least(name: str, value: Any, bound: float) -> Check:
    number = _number(value)
    good = number is not None and number >= bound
    return Check(name=name, value=number, bound=bound, passed=good, detail=f"{_text(number)}, at least {_text(bound)}")


def _at_most(name: str, value: Any, bound: float) -> Check:
    number = _number(value)
    good = number is not None and number <= bound
    return Check(name=name, value=number, bound=bound, passed=good, detail=f"{_text(number)}, at most {_text(bound)}")


def _same(name: str, stated: Any, expected: str | None) -> Check:
    same = stated == expected
    detail = "the current one" if same else f"{str(stated)[:12]} is not the current {str(expected)[:12]}"
    return _flag(name, same, detail)


def _flag(name: str, good: bool, detail: str) -> Check:
    return Check(name=name, value=None, bound=None, passed=good, detail=detail)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _text(value: float | None) -> str:
    return "undefined" if value is None else f"{value:,.6g}"
