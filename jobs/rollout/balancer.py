"""Traffic shared out by a load balancer's weights: no stickiness, no shadow, and nobody answers for a slot that fails."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from jobs.errors import ServiceError, SettingError
from jobs.rollout import aws
from jobs.rollout.counters import Counters, together
from jobs.rollout.ecs import EcsSlots
from jobs.rollout.router import known, refuse_busy, shares
from jobs.rollout.routes import PATHS, Sharing
from jobs.services.ports import SLOTS
from jobs.settings import Settings
from jobs.storage import pause

_PAUSE = 1.0


class Balancer:
    """The listener rule of every project, which forwards to a target group a slot."""

    mirrors = False
    """A load balancer cannot send a slot a copy of a request."""
    drain_seconds = 60.0
    """How long a slot may still answer after its weight is 0."""
    quiet_seconds = 12.0
    """A slot that answered nothing for so long has nothing under way: no request takes longer."""
    settle_seconds = 5.0
    """How long a load balancer takes to do what it is told."""

    def __init__(self, settings: Settings, slots: EcsSlots) -> None:
        self._settings, self._slots = settings, slots

    def weights(self, project: str) -> dict[str, int]:
        """Percent of the project's traffic for each slot, as its rule has it; they sum to 100."""
        arns = self._arns(project)
        with self._told(f"read the weights of {project}", "elasticloadbalancing:DescribeRules"):
            (rule,) = aws.client("elbv2").describe_rules(RuleArns=[arns["rule"]])["Rules"]
        groups = rule["Actions"][-1].get("ForwardConfig", {}).get("TargetGroups", [])
        found = {one["TargetGroupArn"]: int(one.get("Weight", 0)) for one in groups}
        if set(found) != {arns[slot] for slot in SLOTS} or sum(found.values()) != 100:
            raise SettingError(
                f"the listener rule of {project} forwards by {found}, not to its two slots by 100 percent; it was left as it "
                "is. Apply Terraform with routing = weights, and compare TIDEMILL_LISTENER_RULES with its output"
            )
        return {slot: found[arns[slot]] for slot in SLOTS}

    def sharing(self, project: str) -> Sharing:
        """Who gets how much; as nobody stands in for another, stable is who gets most."""
        weights = self.weights(project)
        return Sharing(weights=weights, stable=max(SLOTS, key=lambda slot: weights[slot]))

    def holds(self, project: str, sharing: Sharing) -> bool:
        """Whether the project's traffic is shared out so, as far as weights say it."""
        return self.weights(project) == dict(sharing.weights)

    def set_weights(self, project: str, weights: Mapping[str, int], stable: str, shadow: str | None = None) -> None:
        """Shares the project's traffic out, and returns when the load balancer has had time to.

        Raises UsageError unless the weights sum to 100, and SettingError or ServiceError, with nothing changed.
        """
        wanted, arns = shares(weights, stable, shadow), self._arns(project)
        if self.holds(project, wanted):
            return
        groups = [{"TargetGroupArn": arns[slot], "Weight": wanted.weights[slot]} for slot in SLOTS]
        pause("weights")
        with self._told(f"move the weights of {project}", "elasticloadbalancing:ModifyRule"):
            aws.client("elbv2").modify_rule(
                RuleArn=arns["rule"], Actions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}]
            )
        time.sleep(self.settle_seconds)

    def drain(self, project: str, slot: str, seconds: float) -> None:
        """Returns when the slot has answered nothing for a while; give it no traffic before.

        Raises ServiceError when the slot has traffic, and when it still answers after so many seconds.
        """
        refuse_busy(project, slot, self.sharing(project))
        deadline = time.monotonic() + seconds
        before, since = self._answered(project, slot), time.monotonic()
        while before and time.monotonic() - since < self.quiet_seconds:
            time.sleep(_PAUSE)
            after = self._answered(project, slot)
            if after != before:
                before, since = after, time.monotonic()
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"slot {slot} of {project} still answers requests after {seconds:.0f} seconds; it was not stopped. "
                    "Start the rollout again"
                )

    def observe(self, project: str) -> dict[str, Counters]:
        """Each slot's answers so far, by its tasks' own count; raises ServiceError when one does not answer.

        What never reached a task, because there was none, is in the load balancer's metrics only.
        """
        return {slot: self._observed(known(project), slot) for slot in SLOTS}

    def observe_shadow(self, project: str) -> dict[str, Counters]:
        """Nothing: there are no mirrored requests."""
        return {slot: Counters() for slot in SLOTS}

    def _observed(self, project: str, slot: str) -> Counters:
        own = self._slots.own(project, slot, "predict")
        silent = set(self._slots.addresses(project, slot)) - set(own)
        if silent:
            raise ServiceError(f"{', '.join(sorted(silent))} of slot {slot} of {project} cannot be asked for its count")
        parts = {
            at: Counters(attempts=one.requests, errors=one.errors, latency=one.times) for at, one in own.items()
        }  # fmt: skip
        return together(parts, healthy=self._healthy(project, slot))

    def _healthy(self, project: str, slot: str) -> bool:
        with self._told(f"read the health of slot {slot} of {project}", "elasticloadbalancing:DescribeTargetHealth"):
            answer = aws.client("elbv2").describe_target_health(TargetGroupArn=self._arns(project)[slot])
        states = [one["TargetHealth"]["State"] for one in answer["TargetHealthDescriptions"]]
        serving = [state for state in states if state != "draining"]
        return bool(serving) and set(serving) == {"healthy"}

    def _answered(self, project: str, slot: str) -> dict[str, int]:
        """How much each of the slot's tasks has answered; one that cannot be asked may be answering."""
        counts = dict.fromkeys(self._slots.addresses(project, slot), 0)
        for route in PATHS:
            for at, own in self._slots.own(project, slot, route).items():
                counts[at] = counts.get(at, 0) + own.requests
        return counts

    def _arns(self, project: str) -> dict[str, str]:
        arns = self._settings.listener_rules.get(known(project))
        if arns is None:
            raise SettingError(
                f"TIDEMILL_LISTENER_RULES has no rule of {project}; nothing was changed. Terraform's output has all of them"
            )
        return arns

    def _told(self, doing: str, permission: str) -> Any:
        return aws.told(doing, permission, "TIDEMILL_LISTENER_RULES names", "such rule or target group")
