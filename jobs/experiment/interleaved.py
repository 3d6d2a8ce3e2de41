"""Both releases in one list: how that is planned, and what the lists say."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from types import ModuleType
from typing import Any, ClassVar

from jobs.errors import UsageError
from jobs.experiment import interleaving, lists, picture, preference
from jobs.experiment.arms import Sources
from jobs.experiment.comparison import Known, Read
from jobs.experiment.preference import curve, design, judge
from jobs.monitoring.labels import read_labels
from jobs.result import Result
from jobs.rollout.machine import Rollout
from jobs.spec import HALF, Interleaving, Project


@dataclass(frozen=True, kw_only=True)
class Interleaved:
    """A comparison by whose choices people prefer, list by list."""

    project: Project
    policy: Interleaving
    code: ClassVar[tuple[ModuleType, ...]] = (interleaving, lists, preference, picture)

    def plan(self, known: Known | None, sources: Sources | None, champion: str | None, effect: float | None) -> Result:
        """How many lists with a preference it needs; raises UsageError where nothing can be planned with what is known."""
        if known and known.mean is not None:
            raise UsageError("--baseline is of a metric of halves, and lists are interleaved: give --per-day alone")
        per_day = known.per_day if known else self._per_day(sources)
        if not per_day:
            raise UsageError(
                f"project {self.project.name!r} has no matured label to plan with; run `tidemill labels`, or give "
                "--per-day: lists with a preference a day"
            )
        policy, delay = self.policy, self.project.label.delay_days
        try:
            one = design(policy, per_day, delay, effect)
        except ValueError as error:
            raise UsageError(f"{error}; give another --per-day or --effect") from None
        fits = one.days <= policy.maximum_days
        line = (
            f"experiment plan: to find that {50 + 100 * one.effect:g} % of the lists with a preference prefer the "
            f"candidate's choices, with power {policy.power:g} and alpha {policy.alpha:g}: {one.lists} of them "
            f"({one.lists_fixed} with a single look at the end, {one.price:.2f} times as many for looking at any time; "
            f"halves, for a share that differs by as much, {one.halves}), {one.days} days at {per_day:.0f} a day, "
            f"{delay} of them until the last label is known"
        )
        if not fits:
            line += f". Too long for {policy.maximum_days} days"
        return Result(
            line=line, facts={**asdict(one), "fits": fits, "maximum_days": policy.maximum_days, "per_day": per_day}
        )

    def planned(self, sources: Sources, champion: str | None) -> dict[str, Any] | None:
        """Its design by the label table, None without any."""
        per_day = self._per_day(sources)
        if not per_day:
            return None
        one = design(self.policy, per_day, self.project.label.delay_days)
        return {"planned": one.lists, **asdict(one)}

    def since(self, rollout: Rollout) -> datetime:
        """From when on lists were interleaved: both releases are in each of them, whatever share of the traffic it is."""
        return datetime.fromisoformat(rollout.started_at)

    def read(self, sources: Sources, rollout: Rollout, stable: str, planned: int | None, waited: float) -> Read:
        """The verdict on the lists whose labels have matured."""
        found = lists.lists(
            self.project, sources, candidate=rollout.release, stable=stable, since=self.since(rollout)
        )  # fmt: skip
        votes = found.preference
        counted = {
            "candidate": int((votes > 0).sum()), "stable": int((votes < 0).sum()), "neither": int((votes == 0).sum()),
            "broken": found.broken, "served": found.served,
        }  # fmt: skip
        about = (
            f"Both releases choose in turn what is on a list. {len(votes):,} of {found.served:,} lists have their labels: "
            f"{counted['candidate']:,} prefer the candidate's choices, {counted['stable']:,} the stable release's, "
            f"{counted['neither']:,} neither's. {found.broken:,} lost rows and are left out."
        )
        return Read(
            verdict=judge(self.policy, found, waited=waited),
            facts={"planned": planned, "requests": found.served, "labels": len(votes), "lists": counted},
            rows=len(votes), curve=curve(self.policy, found),
            page={
                "about": about, "measured": "share of lists beyond a half", "least": self.policy.minimum_effect,
                "kinds": {"preference": "primary"}, "alpha": self.policy.alpha,
            },
        )  # fmt: skip

    def _per_day(self, sources: Sources | None) -> float:
        if sources is None or not sources.labels:
            return 0.0
        return lists.decided_per_day(read_labels(sources.labels[-1:]), HALF / 100)
