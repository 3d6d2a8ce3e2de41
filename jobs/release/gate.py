"""Whether a challenger may be registered: a pure function of an evaluation, with no way to turn it off.

Whatever is missing, undefined or about other data counts as failed. Comparisons are decided by their 95 % intervals
(paired bootstrap): a baseline must lose by more than noise, and the champion must not be better by more than allowed.
Slices have many groups, so their intervals are widened until all of them hold together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

from jobs.release.checks import Check, State, state_of
from jobs.slices import Slice
from jobs.spec import Gate, Model, Project
from jobs.training.metrics import LOWER_IS_BETTER

ALPHA = 0.05
"""One minus the level of the evaluation's intervals, and the chance that any of those of slices is wrong."""
EXPLAINED_GAP = 1e-6
"""How far the contributions to a score may be from its margin, in log-odds."""


def judge(
    project: Project,
    evaluation: Mapping[str, Any],
    *,
    snapshot: str,
    candidates: Mapping[str, Mapping[str, str]],
    champion: str | None,
) -> list[Check]:
    """Every rule held against the evaluation; the challenger passes when `verdict.conclude` says PROMOTE of them.

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
        found = _mapping(evaluation.get("models")).get(model.name)
        if not isinstance(found, Mapping):
            checks.append(_flag(f"{model.name}: evaluated", False, "the evaluation does not mention it"))
            continue
        picked = str(found.get("picked"))
        known = candidates.get(model.name, {}).get(picked, "missing")
        stated = _mapping(_mapping(found.get("candidates")).get(picked)).get("digest")
        checks.append(_same(f"{model.name}: candidate {picked}", stated, known))
        checks += _model(model, project.gate, found, champion)
    return checks


def too_few(checks: Iterable[Check]) -> list[str]:
    """The names of the groups that were too small to judge: they did not fail, and nobody knows that they are good."""
    return [check.name for check in checks if check.state is State.UNDECIDED]


@dataclass(frozen=True)
class _Found:
    """A number of the evaluation with what is known about it; None is what is missing, undefined or no number."""

    value: float | None
    low: float | None = None
    high: float | None = None
    rows: int | None = None
    positives: int | None = None
    alpha: float = ALPHA

    @staticmethod
    def of(value: Any, interval: Any, samples: Any) -> _Found:
        interval, samples = _mapping(interval), _mapping(samples)
        low, high = _number(interval.get("low")), _number(interval.get("high"))
        if low is None or high is None or low > high:
            low = high = None
        rows, positives = _whole(samples.get("rows")), _whole(samples.get("positives"))
        return _Found(_number(value), low, high, rows, positives)

    def of_several(self, comparisons: int) -> _Found:
        """With the interval that keeps the chance of any wrong one among so many at ALPHA (Bonferroni): either side is
        as much wider as that of a normal distribution would be."""
        if self.value is None or self.low is None or self.high is None:
            return self
        alpha = ALPHA / comparisons
        wider = NormalDist().inv_cdf(alpha / 2) / NormalDist().inv_cdf(ALPHA / 2)
        low, high = (self.value + wider * (end - self.value) for end in (self.low, self.high))
        return replace(self, low=low, high=high, alpha=alpha)

    def check(self, name: str, bound: float | None, good: bool, must: str, rule: str) -> Check:
        interval = (
            ""
            if self.low is None
            else f", {100 * (1 - self.alpha):.3g} % interval {_text(self.low)} to {_text(self.high)}"
        )
        samples = {"rows": self.rows, "positives": self.positives}
        return Check(
            name=name, value=self.value, bound=bound, state=state_of(good), rule=rule, low=self.low, high=self.high,
            detail=f"{_text(self.value)}{interval}: {must}",
            samples={what: count for what, count in samples.items() if count is not None},
        )  # fmt: skip

    def at_least(self, name: str, bound: float) -> Check:
        good = self.value is not None and self.value >= bound
        return self.check(name, bound, good, f"at least {_text(bound)}", "value >= bound")

    def at_most(self, name: str, bound: float) -> Check:
        good = self.value is not None and self.value <= bound
        return self.check(name, bound, good, f"at most {_text(bound)}", "value <= bound")

    def some_above(self, name: str, bound: float) -> Check:
        good = self.value is not None and self.high is not None and self.high >= bound
        return self.check(name, bound, good, f"some of it at least {_text(bound)}", "high >= bound")

    def some_below(self, name: str, bound: float) -> Check:
        good = self.value is not None and self.low is not None and self.low <= bound
        return self.check(name, bound, good, f"some of it at most {_text(bound)}", "low <= bound")

    def all_above(self, name: str, bound: float, *, or_at: bool) -> Check:
        good = self.value is not None and self.low is not None and (self.low > bound or (or_at and self.low == bound))
        must = f"no part of the interval may be below {_text(bound)}" if or_at else f"all of it above {_text(bound)}"
        return self.check(name, bound, good, must, "low >= bound" if or_at else "low > bound")

    def all_below(self, name: str, bound: float, *, or_at: bool) -> Check:
        good = (
            self.value is not None and self.high is not None and (self.high < bound or (or_at and self.high == bound))
        )
        must = f"no part of the interval may be above {_text(bound)}" if or_at else f"all of it below {_text(bound)}"
        return self.check(name, bound, good, must, "high <= bound" if or_at else "high < bound")


def _model(model: Model, gate: Gate, found: Mapping[str, Any], champion: str | None) -> Iterable[Check]:
    yield from _enough(f"{model.name}:", gate, found)
    lower = model.metric in LOWER_IS_BETTER
    for library in model.baselines:
        difference, name = _difference(found, library, model.metric), f"{model.name}: {model.metric} beats {library}"
        yield difference.all_below(name, 0.0, or_at=False) if lower else difference.all_above(name, 0.0, or_at=False)
    ours, intervals = _mapping(found.get("challenger")), _mapping(found.get("intervals"))
    for threshold in gate.of(model.name):
        name = f"{model.name}: {threshold.metric}"
        value = _Found.of(ours.get(threshold.metric), intervals.get(threshold.metric), found)
        if threshold.minimum is not None:
            reaches = value.some_above if threshold.surely else value.at_least
            yield reaches(f"{name} at least", threshold.minimum)
        if threshold.maximum is not None:
            stays = value.some_below if threshold.surely else value.at_most
            yield stays(f"{name} at most", threshold.maximum)
    sliced = _mapping(found.get("slices"))
    comparisons = sum(_comparisons(one, _mapping(sliced.get(one.name))) for one in gate.slices)
    for one in gate.slices:
        mine = _mapping(sliced.get(one.name))
        yield from _slice(model, one, mine, comparisons)
        if one.maximum_gap is not None:
            yield _gap(model, one, one.maximum_gap, mine, comparisons)
    yield _explained(model, _mapping(found.get("explanations")))
    yield from _against_champion(model, gate, found, champion)


def _enough(name: str, gate: Gate, found: Mapping[str, Any]) -> Iterable[Check]:
    for what, least in (("rows", gate.minimum_rows), ("positives", gate.minimum_positives)):
        yield _Found.of(_whole(found.get(what)), None, None).at_least(f"{name} {what}", least)


def _against_champion(model: Model, gate: Gate, found: Mapping[str, Any], champion: str | None) -> Iterable[Check]:
    """Non-inferiority: of each threshold that says how far the challenger may fall behind, the interval's worse end."""
    rival = _mapping(found.get("champion"))
    yield _same(f"{model.name}: champion compared with", rival.get("digest"), champion)
    allowing = [threshold for threshold in gate.of(model.name) if threshold.allowed_regression is not None]
    if champion is None or not allowing:
        return
    figures = _mapping(rival.get("metrics"))
    unknown = [threshold.metric for threshold in allowing if _number(figures.get(threshold.metric)) is None]
    if unknown:
        why = rival.get("refused", f"the evaluation holds no {', '.join(unknown)} of it")
        yield _flag(f"{model.name}: against the champion", False, f"the champion could not be measured: {why}")
        return
    yield from _enough(f"{model.name}: compared with the champion,", gate, rival)
    for threshold in allowing:
        difference, allowed = _difference(found, "champion", threshold.metric), threshold.allowed_regression or 0.0
        name = f"{model.name}: {threshold.metric} against the champion"
        if threshold.metric in LOWER_IS_BETTER:
            yield difference.all_below(name, allowed, or_at=True)
        else:
            yield difference.all_above(name, -allowed, or_at=True)


def _difference(found: Mapping[str, Any], rival: str, metric: str) -> _Found:
    one = _mapping(_mapping(_mapping(found.get("differences")).get(rival)).get(metric))
    samples = _mapping(found.get("champion")) if rival == "champion" else found
    return _Found.of(one.get("difference"), one, samples)


def _comparisons(one: Slice, found: Mapping[str, Any]) -> int:
    """How many intervals of a slice decide: of each group that is large enough, and of the gap between two."""
    found_of = (_of_group(found, group) for group in one.groups)
    return sum(not _small(one, value) for value in found_of) + bool(found.get("gap"))


def _of_group(found: Mapping[str, Any], group: str) -> _Found:
    figures = _mapping(_mapping(found.get("groups")).get(group))
    return _Found.of(figures.get("value"), figures, figures)


def _small(one: Slice, value: _Found) -> bool:
    rows, positives = value.rows or 0, value.positives or 0
    return rows < one.minimum_rows or min(positives, rows - positives) < one.minimum_positives


def _slice(model: Model, one: Slice, found: Mapping[str, Any], comparisons: int) -> Iterable[Check]:
    """A check for each group: it fails when its whole interval is beyond a bound, or when it is not there."""
    for group in one.groups:
        value, name = _of_group(found, group), f"{model.name}: {one.metric} of {one.name} {group}"
        if value.rows is None or value.positives is None:
            yield _flag(name, False, "the evaluation does not mention this group")
        elif _small(one, value):
            must = (
                f"too few to judge, {value.positives:,} positives of {value.rows:,} rows; "
                f"it takes {one.minimum_rows:,}, and {one.minimum_positives:,} of either kind"
            )
            small = value.check(name, one.minimum, False, must, "high >= bound")
            yield replace(small, state=State.UNDECIDED, optional=True)
        else:
            value = value.of_several(comparisons)
            if one.minimum is not None:
                yield value.some_above(name, one.minimum)
            if one.maximum is not None:
                yield value.some_below(name, one.maximum)


def _gap(model: Model, one: Slice, bound: float, found: Mapping[str, Any], comparisons: int) -> Check:
    """Fails when the whole interval of the groups' difference is beyond the bound; undecided below two judged groups."""
    gap = _mapping(found.get("gap"))
    between = gap.get("between") if isinstance(gap.get("between"), list) else []
    name = f"{model.name}: {one.metric} between groups of {one.name}"
    value = _Found.of(gap.get("value"), gap, gap).of_several(max(comparisons, 1))
    if "groups" in found and not gap:
        check = value.check(name, bound, False, "fewer than two groups are large enough to compare", "low <= bound")
        return replace(check, state=State.UNDECIDED, optional=True)
    good = value.value is not None and value.low is not None and value.low <= bound
    apart = f" ({' and '.join(map(str, between))})" if between else ""
    return value.check(name, bound, good, f"some of it at most {_text(bound)}{apart}", "low <= bound")


def _explained(model: Model, found: Mapping[str, Any]) -> Check:
    """The contributions to the scores of the rows that were explained sum up to their margins."""
    name = f"{model.name}: contributions sum to the score"
    if not _whole(found.get("rows")):
        return _flag(name, False, "no row was explained")
    return _Found.of(found.get("largest_gap"), None, found).at_most(name, EXPLAINED_GAP)


def _same(name: str, stated: Any, expected: str | None) -> Check:
    same = stated == expected
    detail = "the current one" if same else f"{str(stated)[:12]} is not the current {str(expected)[:12]}"
    return _flag(name, same, detail)


def _flag(name: str, good: bool, detail: str) -> Check:
    return Check(name=name, state=state_of(good), detail=detail)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _text(value: float | None) -> str:
    return "undefined" if value is None else f"{value:,.6g}"
