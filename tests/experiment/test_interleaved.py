"""An interleaved experiment from served lists to its verdict, on a real lake and ledger."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from jobs.batch import Batches
from jobs.errors import SpecError, UsageError
from jobs.experiment.comparison import Known
from jobs.experiment.interleaving import draft
from jobs.lake import Lake
from jobs.monitoring import served
from jobs.monitoring.labels import label_batches, read_labels
from jobs.projects.fraud.spec import FRAUD
from jobs.projects.search.spec import SEARCH
from jobs.release.bundle import Bundle
from jobs.rollout.machine import Rollout
from jobs.rollout.verdict import CANARY, Decision, conclude
from jobs.rollout.watch import Watch
from jobs.settings import Settings
from jobs.spec import Interleaving, Project
from jobs.stages import experiment, labels
from tests.experiment.conftest import Trial as OfHalves
from tests.experiment.interleaved import LENGTH, STABLE, clicked, order, worths
from tests.monitoring.conftest import champion, put, settings  # noqa: F401
from tests.releases import release


@pytest.fixture
def project() -> Project:
    return replace(SEARCH, experiment=Interleaving(minimum_effect=0.05))


class Trial(OfHalves):
    """An interleaved experiment under way; `serve` publishes what was answered and clicked, by the day."""

    def serve(self, rollout: Rollout, noise: float, *, days: int = 5, searches: int = 200, lost: float = 0.0) -> None:
        """Every second search goes to the candidate's slot, whose release knows worth up to a noise, and is interleaved.

        `lost` is the share of the interleaved rows that never came.
        """
        random, began = np.random.default_rng(5), datetime.fromisoformat(rollout.started_at)
        width = len(self.project.models[-1].inputs)
        for offset in range(days):
            day, rows = began + timedelta(days=offset), []
            for number in range(searches):
                search = f"s-{offset}-{number}"
                worth = worths(random, 1)[0]
                stable, other = (order(random, worth, one).tolist() for one in (STABLE, noise))
                both = number % 2 == 0
                drafted = draft(other if both else stable, stable, search)
                hits = clicked(random, worth, np.array([one.item for one in drafted]))
                for place, (one, hit) in enumerate(zip(drafted, hits, strict=True)):
                    mine = both and one.side == "candidate"
                    at = day + timedelta(seconds=60 * number + place / 100)
                    rows.append({
                        "request_id": f"q-{search}-{place}", "event_id": f"e-{search}-{one.item}", "event_time": at,
                        "served_at": at + timedelta(seconds=1), "release": self.candidate if mine else self.stable,
                        "slot": "green" if both else "blue", "score": 0.5, "decision": "rank", "degraded": False,
                        "entities": json.dumps({"document_id": f"D{one.item}"}),
                        "payload": json.dumps({"search_id": search}), "vector": json.dumps([0.0] * width),
                        "beside": (self.stable if mine != one.agreed else self.candidate) if both else None,
                        "search_id": search, "document_id": f"D{one.item}", "label": int(hit),
                        "label_time": at + timedelta(days=self.project.label.delay_days),
                    })  # fmt: skip
            frame = pd.DataFrame(rows)
            spine = ["event_id", "event_time", "search_id", "document_id", "label", "label_time"]
            kept = frame["beside"].isna() | (random.random(len(frame)) >= lost)
            put(
                self.lake.raw(self.project.name, "predictions", day.date()),
                frame.drop(columns=spine[2:])[kept],
                day.date(),
            )
            put(self.lake.spine(self.project.name, day.date()), frame[spine], day.date())

    def mature(self) -> None:
        """Joins what has its label by the end of yesterday."""
        yesterday = datetime.now(UTC).date() - timedelta(days=1)
        assert labels.run(self.project, self.settings, batches=Batches(yesterday, yesterday)).exit_code == 0

    def read(self) -> Any:
        return experiment.run(self.project, self.settings, action="read")


@pytest.fixture
def trial(project: Project, settings: Settings, lake: Lake, champion: Bundle, tmp_path: Path) -> Trial:  # noqa: F811
    other = release(lake, project, tmp_path / "other", seed=2)
    return Trial(project=project, settings=settings, lake=lake, stable=champion.release, candidate=other.release)


def test_a_better_release_is_promoted_and_its_rollout_told(trial: Trial) -> None:
    rollout = trial.halved()
    trial.serve(rollout, noise=0.4)
    trial.mature()
    got = trial.read()
    assert (got.exit_code, got.facts["verdict"]) == (0, "PROMOTE"), got.line
    told = got.facts["lists"]
    assert (told["served"], told["broken"]) == (500, 0)
    assert told["candidate"] + told["stable"] + told["neither"] == got.facts["labels"] == 500
    check = next(check for check in got.facts["checks"] if check["name"] == "preference")
    assert (
        0.5 < check["low"] < check["value"] == told["candidate"] / (told["candidate"] + told["stable"]) < check["high"]
    )
    text = Path(got.facts["report"]).read_text()
    assert "data:image/png;base64," in text
    assert "500 of 500 lists have their labels" in text
    assert len(json.loads((Path(got.facts["report"]).parent / "result.json").read_text())["curve"]) == 5
    with trial.ledger as ledger:
        watch = Watch(trial.project, trial.settings, ledger, None, None)  # type: ignore[arg-type]
        assert watch.decide_ab(rollout, conclude([], CANARY), waited=60).checks[-1].passed
        assert trial.read().facts == got.facts
        assert [one.verdict for one in ledger.verdicts(trial.project.name, "experiment")] == [Decision.PROMOTE]


def test_a_worse_release_is_rolled_back_and_an_equal_one_holds_until_its_deadline(trial: Trial) -> None:
    rollout = trial.halved()
    trial.serve(rollout, noise=STABLE, days=3)
    trial.mature()
    got = trial.read()
    assert (got.exit_code, got.facts["verdict"], got.facts["rule"]) == (99, "HOLD", "preference"), got.line
    late = replace(trial.project, experiment=Interleaving(minimum_effect=0.05, maximum_days=19))
    got = experiment.run(late, trial.settings, action="read")
    assert (got.exit_code, "deadline" in got.line) == (1, True)
    trial.serve(trial.halved(days=19), noise=16.0)
    trial.mature()
    got = trial.read()
    assert (got.exit_code, got.facts["rule"]) == (1, "preference"), got.line


def test_lists_that_lost_rows_are_left_out_and_too_many_end_it(trial: Trial) -> None:
    trial.serve(trial.halved(), noise=0.4, lost=0.3, days=2)
    trial.mature()
    got = trial.read()
    assert (got.exit_code, got.facts["rule"]) == (1, "whole"), got.line
    assert got.facts["lists"]["broken"] > 20


def test_before_labels_and_without_any_log_it_holds(trial: Trial) -> None:
    trial.halved()
    assert (trial.read().exit_code, trial.read().facts["labels"]) == (99, 0)
    trial.serve(trial.halved(days=1), noise=0.4, days=1)
    got = trial.read()
    assert (got.exit_code, got.facts["requests"], got.facts["labels"]) == (99, 100, 0)


def test_rows_of_interleaved_lists_say_nothing_of_one_release_alone(trial: Trial) -> None:
    rollout = trial.halved()
    trial.serve(rollout, noise=0.4, days=2)
    trial.mature()
    batches = label_batches(trial.lake, trial.project)
    alone, both = read_labels(batches), read_labels(batches, interleaved=True)
    assert set(alone["release"].to_pylist()) == {trial.stable}, "the candidate made no list by itself"
    assert (len(alone), len(both)) == (2 * 100 * LENGTH, 2 * 100 * LENGTH)
    with trial.ledger as ledger:
        now = ledger.champion(trial.project.name)
    assert now is not None
    first = datetime.fromisoformat(rollout.started_at).date()
    window = served.find(trial.lake, trial.project, now, first, first + timedelta(days=1))
    assert window is not None
    assert window.source == "predictions"
    assert len(window.frames()[1]) == len(alone), "what drift compares"


def test_the_plan_counts_the_lists_that_would_have_a_preference(trial: Trial) -> None:
    with pytest.raises(UsageError, match="no matured label"):
        experiment.run(trial.project, trial.settings, action="plan")
    trial.serve(trial.halved(), noise=STABLE)
    trial.mature()
    got = experiment.run(trial.project, trial.settings, action="plan")
    with trial.ledger as ledger:
        ledger.verdicts(trial.project.name, "experiment")
    assert got.facts["effect"] == 0.05
    assert got.facts["lists"] > got.facts["lists_fixed"]
    assert 25 < got.facts["per_day"] < 50, "of the 100 searches a day that one release answers alone, half"
    assert trial.read().facts["lists"]["neither"] < 500 - 5 * got.facts["per_day"] * 0.8
    given = experiment.run(trial.project, trial.settings, action="plan", known=Known(per_day=1e9), effect=0.1)
    assert (given.facts["serving_days"], given.facts["days"]) == (1, 2)
    for wrong in (Known(per_day=9, mean=0.2), Known(per_day=0)):
        with pytest.raises(UsageError, match=r"lists are interleaved|nothing can be planned|no matured label"):
            experiment.run(trial.project, trial.settings, action="plan", known=wrong)


def test_only_a_ranking_may_be_interleaved() -> None:
    with pytest.raises(SpecError, match="model 'fraud' has no group"):
        replace(FRAUD, experiment=Interleaving(minimum_effect=0.05))
    with pytest.raises(SpecError, match=r"(?s)is over before its first label.*below 0.5"):
        replace(SEARCH, experiment=Interleaving(minimum_effect=0.6, maximum_days=SEARCH.label.delay_days))
    assert isinstance(SEARCH.start, date)
