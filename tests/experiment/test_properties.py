"""What holds of an experiment's arithmetic whatever it is fed, and of simulated ones whose truth is known."""

from __future__ import annotations

import doctest
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.experiment import design as designing
from jobs.experiment.design import Baseline, design
from jobs.experiment.measures import Outcomes, sample, values
from jobs.experiment.reading import Arms, Assignment, judge
from jobs.rollout import comparisons
from jobs.rollout.verdict import Decision
from jobs.spec import Experiment, Metric, Project, SpecError
from tests.experiment import simulated

NAMES = ["log_loss", "brier", "caught", "false_alarms", "acted", "positives", "degraded"]


def outcomes(seed: int, count: int, entities: int) -> Outcomes:
    random = np.random.default_rng(seed)
    coins = (random.random(count) < 0.4 for _ in range(3))
    return Outcomes(
        entity=random.integers(0, max(entities, 1), count), score=random.random(count), label=next(coins),
        acted=next(coins), degraded=next(coins), known=np.zeros(count, dtype=np.int64),
    )  # fmt: skip


seen = st.builds(outcomes, st.integers(0, 10_000), st.integers(0, 400), st.integers(1, 400))


@pytest.mark.parametrize("module", [designing, comparisons])
def test_examples_in_the_documentation_hold(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


@given(seen, st.sampled_from(NAMES))
def test_a_mean_is_the_plain_mean_and_its_error_that_of_whole_entities(one: Outcomes, name: str) -> None:
    metric = Metric(name=name, direction="lower")  # type: ignore[arg-type]
    found, entity = values(metric, one)
    got = sample(metric, one)
    assert got.count == len(found)
    if len(found):
        assert got.mean == pytest.approx(found.mean())
    alone = sample(metric, replace(one, entity=np.arange(len(one))))
    if len(found) > 1:
        assert alone.variance == pytest.approx(found.var(ddof=1))
    if len(set(entity.tolist())) > 1:
        twice = Outcomes(**{key: np.concatenate([part, part]) for key, part in vars(one).items()})
        again = sample(metric, twice)
        assert again.variance / again.count == pytest.approx(got.variance / got.count), "repeats prove nothing"


@given(
    st.floats(1e-4, 0.5), st.floats(1.01, 5), st.floats(1e-3, 4), st.integers(1, 100_000), st.floats(0.5, 0.95),
    st.integers(0, 3),
)  # fmt: skip
def test_a_smaller_effect_and_more_metrics_need_more_labels_and_looking_has_a_price(
    effect: float, factor: float, variance: float, per_day: int, power: float, guardrails: int
) -> None:
    names = ["caught", "acted", "degraded"][:guardrails]
    policy = Experiment(
        primary=Metric(name="brier", direction="lower"), minimum_effect=effect, power=power,
        guardrails=tuple(Metric(name=name, direction="lower", margin=0.1) for name in names),  # type: ignore[arg-type]
    )  # fmt: skip
    known = Baseline(mean=0.2, variance=variance, per_day=per_day)
    one = design(policy, known, 7)
    assert one.days == one.serving_days + 7
    assert one.serving_days >= one.labels / per_day
    assert design(policy, known, 7, effect * factor).labels <= one.labels
    assert design(replace(policy, guardrails=()), known, 7).labels <= one.labels
    if one.labels_fixed > 100:
        assert 1 < one.price < 4


@given(seen, seen, st.integers(0, 500), st.integers(0, 500), st.integers(0, 20), st.floats(0, 4e6) | st.just(math.nan))
@settings(max_examples=60)
def test_only_complete_evidence_promotes_and_nothing_waits_for_ever(
    mine: Outcomes, theirs: Outcomes, candidate: int, stable: int, crossed: int, waited: float
) -> None:
    policy = replace(simulated.POLICY, guardrails=(Metric(name="brier", direction="lower", margin=0.5),))
    arms = Arms(
        assignment=Assignment(candidate=candidate, stable=stable, crossed=crossed), candidate=mine, stable=theirs
    )
    verdict = judge(policy, arms, planned=1_000, waited=waited)
    if verdict.decision is Decision.PROMOTE:
        assert min(mine.entities, theirs.entities) >= policy.minimum_entities
        assert {check.name for check in verdict.checks if check.passed} == {
            "share",
            "crossed",
            "matured",
            "acted",
            "brier",
        }
    if not waited < policy.maximum_days * 86_400:
        assert verdict.decision is not Decision.HOLD


def test_without_a_difference_few_are_decided_although_they_are_looked_at_daily() -> None:
    labels = design(simulated.POLICY, simulated.baseline(), 0).labels
    promoted, _, _ = simulated.simulate(200, 0.0, labels)
    assert promoted <= 10, "alpha is 0.05 on both sides together: at most 5 of 200 are expected to be promoted"


def test_the_planned_size_finds_the_planned_effect_and_a_larger_one_sooner() -> None:
    labels = design(simulated.POLICY, simulated.baseline(), 0).labels
    promoted, ended, used = simulated.simulate(120, simulated.POLICY.minimum_effect, labels)
    double, _, sooner = simulated.simulate(60, 2 * simulated.POLICY.minimum_effect, labels)
    assert promoted >= 0.8 * 120 - 3 * math.sqrt(120 * 0.8 * 0.2), "the power is what was planned for, but for chance"
    assert ended <= 8, "of 120 at most 3 are expected"
    assert double == 60
    assert sooner < used


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"minimum_effect": 0.0}, "minimum_effect"),
        ({"alpha": 1.0}, "alpha 1.0"),
        ({"maximum_days": 7}, "over before its first label"),
        ({"guardrails": (Metric(name="acted", direction="lower"),)}, "guardrail 'acted' needs a margin"),
        ({"secondary": (Metric(name="log_loss", direction="lower"),)}, "'log_loss' is declared twice"),
    ],
)
def test_a_contradictory_experiment_is_refused(project: Project, changes: dict[str, object], fault: str) -> None:
    sound = Experiment(primary=Metric(name="log_loss", direction="lower"), minimum_effect=0.002)
    with pytest.raises(SpecError, match=fault):
        replace(project, experiment=replace(sound, **changes))  # type: ignore[arg-type]


def test_half_of_the_traffic_needs_an_experiment_and_steps_that_pass_it(project: Project) -> None:
    with pytest.raises(SpecError, match="waits for an experiment"):
        replace(project, experiment=None, canary=replace(project.canary, policy="ab"))
    with pytest.raises(SpecError, match="50 is followed by 100"):
        replace(project, canary=replace(project.canary, steps=(5, 50, 75, 100)))
