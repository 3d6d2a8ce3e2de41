"""An interleaved experiment on real servers: from its start over lists that people click to promotion, and to a rollback."""

from __future__ import annotations

import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from jobs.batch import Batches
from jobs.projects.search.spec import SEARCH
from jobs.services.ports import url
from jobs.stages import experiment, ingest, labels
from tests.clients import asking
from tests.monitoring.conftest import put
from tests.rollout.conftest import KEY, Installation, installed
from tests.rollout.policies import PROJECTS
from tests.rollout.test_experiment import HALF, held

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]
LENGTH, INPUTS = 8, SEARCH.models[-1].inputs
PATIENT = 240
"""Seconds until whatever may hold has to be decided: nothing waits that long but on a busy machine."""
DAY = datetime.now(UTC).date() - timedelta(days=3)
"""When everybody searches: what is clicked is known by now."""


def by_title(weight: float) -> dict[str, object]:
    """A release that orders by the title's score alone, the highest first or last."""
    width = len(INPUTS)
    coefficients = [weight if name == "title_bm25" else 0.0 for name in INPUTS]
    return {"mean": [0.0] * width, "scale": [1.0] * width, "coefficients": coefficients, "intercept": 0.0}


@dataclass
class People:
    """Who searches through the router, reads what is shown from the top, and clicks titles that suit the search."""

    address: str
    spine: list[dict[str, Any]] = field(default_factory=list)
    lists: list[tuple[str, ...]] = field(default_factory=list)
    """Of each search the releases whose choices were shown, from the top."""
    statuses: set[int] = field(default_factory=set)
    over: threading.Event = field(default_factory=threading.Event)

    def ask(self, number: int) -> None:
        random, headers = np.random.default_rng(number), {"authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=self.address, headers=headers, timeout=15) as client:
            while not self.over.is_set():
                search, titles = uuid.uuid4().hex[:12], random.integers(0, 1_000, LENGTH).tolist()
                at = f"{DAY}T{random.integers(0, 24):02}:{random.integers(0, 60):02}:{random.integers(0, 60):02}Z"
                rows = [
                    {"impression_id": f"{search}-{row}", "event_time": at, "search_id": search, "user_id": "u",
                     "query": "of ships", "document_id": f"D{row}", "title": "a", "title_score": title,
                     "body_score": 0, "age_days": 0}
                    for row, title in enumerate(titles)
                ]  # fmt: skip
                answer = client.post("/search/predict", json={"rows": rows}, headers={"x-entity": search})
                self.statuses.add(answer.status_code)
                shown = sorted(zip(answer.json()["rows"], rows, strict=True), key=lambda pair: pair[0]["position"])
                self.lists.append(tuple(told["release"] for told, _ in shown))
                for told, row in shown:
                    looked = random.random() < 1 / told["position"]
                    self.spine.append({
                        "event_id": row["impression_id"], "event_time": pd.Timestamp(at), "search_id": search,
                        "document_id": row["document_id"], "query": row["query"], "clicked": False, "read": False,
                        "label": int(looked and random.random() < row["title_score"] / 1_000),
                        "label_time": pd.Timestamp(at) + timedelta(days=SEARCH.label.delay_days),
                    })  # fmt: skip
                time.sleep(0.01)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, postgres: str) -> Iterator[Installation]:
    folder, name = tmp_path_factory.mktemp("interleaved"), "interleaved"
    with installed(folder, postgres, PROJECTS[name], policy=name) as made:
        made.reset()
        yield made


def ask(installation: Installation, action: str) -> tuple[int, Any, str]:
    got = experiment.run(installation.declared, installation.settings, action=action)
    return got.exit_code, got.facts, got.line


def went_on(found: tuple[int, Any]) -> None:
    """A step's verdict was PROMOTE."""
    assert found[0] == 0, found[1].get("reason", found[1])


def label(installation: Installation, people: People) -> None:
    """Everything landed is ingested, and what was clicked is joined."""
    day, yesterday = Batches(DAY, DAY), datetime.now(UTC).date() - timedelta(days=1)
    assert ingest.run(installation.declared, installation.settings, batches=day, source="predictions").exit_code == 0
    put(installation.lake.spine(SEARCH.name, DAY), pd.DataFrame(list(people.spine)), DAY)
    told = labels.run(installation.declared, installation.settings, batches=Batches(yesterday, yesterday), force=True)
    assert told.exit_code == 0, told.line


def read(installation: Installation, people: People) -> tuple[int, Any, str]:
    """Labels and reads until the experiment is decided."""
    deadline = time.monotonic() + PATIENT
    while True:
        time.sleep(4)  # the slots land their logs every two seconds
        label(installation, people)
        found = ask(installation, "read")
        if found[0] != 99 or time.monotonic() > deadline:
            return found


def test_whose_choices_are_clicked_becomes_champion_and_whose_are_not_is_rolled_back(
    installation: Installation,
) -> None:
    people = People(url(installation.settings, "router"))
    low = installation.become_champion(by_title(-3.0)).release
    high = installation.challenger(by_title(3.0)).release
    with asking(people.ask, people.over, 2):
        code, facts, line = ask(installation, "start")
        assert (code, facts["release"], facts["verdict"]) == (0, high, "HOLD"), line
        assert installation.slots.state(SEARCH.name, "green")["beside"] == low
        held(installation)
        code, facts, line = read(installation, people)
        assert (code, facts["verdict"], facts["stable"]) == (0, "PROMOTE", low), line
        assert facts["lists"]["candidate"] > facts["lists"]["stable"]
        assert facts["lists"]["broken"] == 0
        assert Path(facts["report"]).exists()
        both = [one for one in people.lists if len(set(one)) == 2]
        assert all(abs(one[:top].count(high) - one[:top].count(low)) <= 1 for one in both for top in range(LENGTH + 1))
        assert all(set(one) == {low} for one in people.lists if len(set(one)) == 1), "the rest is the stable slot's"
        went_on(installation.walk(50, PATIENT))
        assert installation.ask("step", percent=100)[0] in (0, 99)
        assert installation.slots.state(SEARCH.name, "green")["beside"] is None
        asked = len(people.lists)
        went_on(installation.walk(100, PATIENT))
        assert all(set(one) == {high} for one in people.lists[asked + 2 :]), (
            "at all of the traffic nothing is interleaved"
        )
        went_on(installation.promoted(PATIENT))
        worse = installation.challenger(by_title(-2.0)).release
        code, facts, line = ask(installation, "start")
        assert (code, facts["slot"]) == (0, "blue"), line
        deadline = time.monotonic() + PATIENT
        while installation.ask("step", percent=50)[1]["rule"] != "experiment":
            assert time.monotonic() < deadline
            time.sleep(1)
        assert installation.weights == HALF
        code, facts, line = read(installation, people)
        assert (code, facts["verdict"], facts["rule"], facts["release"]) == (1, "ROLL BACK", "preference", worse), line
        assert installation.walk(50, PATIENT)[0] == 1
        assert installation.weights == {"blue": 0, "green": 100}
        assert installation.slots.state(SEARCH.name, "blue")["beside"] is None
    assert people.statuses == {200}, "no search was lost"
    for copy in (installation.settings.home / "serving" / SEARCH.name / "releases").glob("blue-*"):
        shutil.rmtree(copy)
    (installation.lake.release(SEARCH.name, high) / "model.json").write_text("{}")
    installation.challenger(by_title(2.0))
    code, facts, line = ask(installation, "start")
    assert (code, facts["state"], f"{high} is not beside it" in line) == (1, "rolled_back", True), line
    assert installation.weights == {"blue": 0, "green": 100}
