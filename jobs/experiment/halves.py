"""Half of the entities with either release: how it is planned, and what its two sides say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from types import ModuleType
from typing import Any, ClassVar

from jobs.errors import UsageError
from jobs.experiment import design as designing
from jobs.experiment import measures, picture, reading
from jobs.experiment.arms import Sources, arms, baseline
from jobs.experiment.comparison import Known, Read
from jobs.experiment.design import Baseline
from jobs.experiment.reading import Arms
from jobs.monitoring.labels import read_labels
from jobs.result import Result
from jobs.rollout.machine import Rollout
from jobs.spec import Experiment, Project


@dataclass(frozen=True, kw_only=True)
class Halves:
    """A comparison by the metrics of two halves."""

    project: Project
    policy: Experiment
    code: ClassVar[tuple[ModuleType, ...]] = (reading, measures, picture)

    def plan(self, known: Known | None, sources: Sources | None, champion: str | None, effect: float | None) -> Result:
        """How many labels and days it needs; raises UsageError where nothing can be planned with what is known."""
        found = self._given(known) if known else self._baseline(sources, champion)
        if found is None:
            raise UsageError(
                f"project {self.project.name!r} has no matured label of its champion to plan with; run `tidemill labels`, "
                "or give --baseline, --variance and --per-day"
            )
        delay, policy = self.project.label.delay_days, self.policy
        try:
            one = designing.design(policy, found, delay, effect)
        except ValueError as error:
            raise UsageError(f"{error}; give --baseline, --variance and --per-day, or another --effect") from None
        others = [designing.design(policy, found, delay, factor * one.effect) for factor in (0.5, 2.0)]
        least, fits, most = (
            designing.detectable(policy, found, delay),
            one.days <= policy.maximum_days,
            policy.maximum_days,
        )
        line = (
            f"experiment plan: {policy.primary.name} {found.mean:.4g}; to find {one.effect:g} better with power "
            f"{policy.power:g} and alpha {policy.alpha:g}: {one.labels} labels ({one.labels_fixed} with a single look at "
            f"the end, {one.price:.2f} times as many for looking at any time), {one.days} days at {found.per_day:.0f} a "
            f"day, {delay} of them until the last label is known"
        )
        if not fits:
            line += f". Too long for {most} days, in which {least:.3g} can be found"
        facts = {
            **one.document(), "fits": fits, "maximum_days": most, "detectable": least, "baseline": vars(found),
            "alternatives": [other.document() for other in others],
        }  # fmt: skip
        return Result(line=line, facts=facts)

    def planned(self, sources: Sources, champion: str | None) -> dict[str, Any] | None:
        """Its design by the champion's own labels, None without any."""
        found = self._baseline(sources, champion)
        try:
            one = designing.design(self.policy, found, self.project.label.delay_days) if found else None
        except ValueError:
            return None
        return {"planned": one.labels, **one.document()} if one else None

    def since(self, rollout: Rollout) -> datetime:
        """From when on each release had half of the entities."""
        return datetime.fromisoformat(str(rollout.step_started_at))

    def read(self, sources: Sources, rollout: Rollout, stable: str, planned: int | None, waited: float) -> Read:
        """The verdict on both sides' matured labels, and its metrics."""
        policy, size = self.policy, planned or reading.PLANNED
        found = arms(self.project, sources, candidate=rollout.release, stable=stable, since=self.since(rollout))
        kinds = {policy.primary.name: "primary"}
        kinds |= {one.name: "guardrail" for one in policy.guardrails}
        kinds |= {one.name: "secondary" for one in policy.secondary}
        labels = len(found.candidate) + len(found.stable)
        about = (
            f"Half of the entities each. {labels} of {found.assignment.requests} predictions have their label. An entity "
            "that both sides answered is in no metric; a secondary metric decides nothing."
        )
        return Read(
            verdict=reading.judge(policy, found, planned=size, waited=waited),
            facts={
                "planned": size, "requests": found.assignment.requests, "labels": labels, "metrics": self._metrics(found),
            },
            rows=labels, curve=reading.curve(policy, found, size),
            page={
                "about": about, "measured": policy.primary.name, "least": policy.minimum_effect, "kinds": kinds,
                "alpha": reading.share_of_alpha(policy),
            },
        )  # fmt: skip

    def _given(self, known: Known) -> Baseline:
        if known.mean is None:
            raise UsageError("--per-day needs --baseline: what the primary metric is now")
        variance = known.mean * (1 - known.mean) if known.variance is None else known.variance
        return Baseline(mean=known.mean, variance=variance, per_day=known.per_day)

    def _baseline(self, sources: Sources | None, champion: str | None) -> Baseline | None:
        if champion is None or sources is None or not sources.labels:
            return None
        found = baseline(self.project, read_labels(sources.labels[-1:]), champion, self.policy.primary)
        return found if found.per_day else None

    def _metrics(self, found: Arms) -> dict[str, Any]:
        """Each metric's mean on either side, None where it is undefined, and its events."""
        told: dict[str, Any] = {}
        for metric in (self.policy.primary, *self.policy.guardrails, *self.policy.secondary):
            sides = [measures.sample(metric, one) for one in (found.candidate, found.stable)]
            means = [side.mean if side.count else None for side in sides]
            told[metric.name] = {"candidate": means[0], "stable": means[1], "events": [side.count for side in sides]}
        return told
