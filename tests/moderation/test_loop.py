"""Moderation from simulated posts to a release, its answers, the queue of what people look at, and their verdicts."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from collections import Counter
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.batch import Batches
from jobs.errors import DataRejected
from jobs.lake import Lake
from jobs.projects.moderation import simulate
from jobs.projects.moderation.features import request
from jobs.projects.moderation.spec import MODERATION
from jobs.release.ledger import Ledger
from jobs.rollout.slots import Assignment, assignment_path
from jobs.services import places
from jobs.settings import ROOT, Settings
from jobs.spec import Split
from jobs.stages import evaluate, gate, ingest, predict, register, train
from jobs.stages import review as reviewing
from jobs.storage import publish, write_atomically
from jobs.training.splits import plan_of, span
from tests.training.runs import home_of
from tests.training.synthetic import own_database

pytestmark = pytest.mark.services
SPLIT = Split(train_days=8, delay_days=4, test_days=4, folds=1)
PROJECT = replace(
    MODERATION,
    models=(replace(MODERATION.models[0], trials=1, learners=("lightgbm",), split=SPLIT),),
    gate=replace(MODERATION.gate, thresholds=MODERATION.gate.thresholds[1:3]),
)
LAST = date(2025, 11, 2)
PLAN = plan_of(SPLIT, LAST - timedelta(days=span(SPLIT) - 1))
SERVED = LAST + timedelta(days=10)


def frame() -> pa.Table:
    """Every reviewed post of the plan's days, with the verdict of most reviewers; of its author nothing is known."""
    days = [simulate.day(PLAN.days.first + timedelta(days=one), 1) for one in range(len(PLAN.days) + 3)]
    posts = pa.concat_tables([one["posts"] for one in days[: len(PLAN.days)]])
    said: dict[str, Counter[str]] = {}
    for one in pa.concat_tables([one["verdicts"] for one in days]).to_pylist():
        said.setdefault(one["post_id"], Counter())[one["verdict"]] += 1
    posts = posts.filter(pa.array([name in said for name in posts["post_id"].to_pylist()]))
    label = [simulate.CLASSES.index(said[name].most_common(1)[0][0]) for name in posts["post_id"].to_pylist()]
    zeros = np.zeros(len(posts), dtype=np.int64)
    author = dict.fromkeys(PROJECT.live_views[0].features, zeros)
    vectors = request({"text": posts["text"].to_numpy()}, {"author": author})
    posts = posts.rename_columns({"post_id": "event_id"}).append_column("label", pa.array(label))
    for index, name in enumerate(PROJECT.models[0].inputs):
        posts = posts.append_column(name, pa.array(vectors[:, index]))
    return posts


@dataclass(frozen=True)
class Released:
    """A release that passed its gate, in a home of its own."""

    settings: Settings
    release: str
    digest: str
    evaluation: dict
    gate: str


@pytest.fixture(scope="module")
def released(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Released:
    settings = own_database(home_of(tmp_path_factory.mktemp("moderation")), postgres)
    table, lake = frame(), Lake(settings.lake_uri)
    facts = {"as_of": str(LAST), **PLAN.document(), "rows": len(table), "spec": PROJECT.digest, "git": "0" * 40,
             "negative_control": False}  # fmt: skip

    def write(folder: Path) -> int:
        pq.write_table(table, folder / "frame.parquet")
        return len(table)

    publish(
        lake.run(PROJECT.name, "first") / "snapshot", write, inputs={"made": "up"}, watermark=str(LAST), facts=facts
    )
    lines = {}
    for stage in (train, evaluate, gate, register):
        result = stage.run(PROJECT, settings, run="first")
        lines[stage.__name__] = result
        assert result.exit_code == 0, result.line
    with Ledger(settings.need("database_url")) as ledger:
        found = ledger.challenger(PROJECT.name)
    assert found is not None
    return Released(
        settings, found.release, found.digest, lines["jobs.stages.evaluate"].facts, lines["jobs.stages.gate"].line
    )


def test_the_gate_holds_classes_and_groups_against_their_bounds(released: Released) -> None:
    told = released.evaluation["models"]["moderation"]
    assert told["challenger"]["macro_f1"] > 0.75
    assert told["challenger"]["worst_class_recall"] > 0.6
    assert set(told["slices"]["community"]["groups"]) == {"kitchen", "garden", "cycling"}
    assert told["slices"]["community"]["gap"]["value"] >= 0
    assert set(told["explanations"]["importance"]) == set(PROJECT.models[0].told)
    assert told["decisions"]["costs"] == {one.name: list(one.costs) for one in PROJECT.models[0].decisions}


def answered(released: Released, posts: list[dict]) -> tuple[list[dict], list[dict], list[dict]]:
    """What a slot answers to these posts together, to the first of them alone, and how it explains some."""
    settings = released.settings
    told = Assignment(
        project=PROJECT.name, slot=settings.slot, release=released.release, digest=released.digest, epoch=1,
        folder=str(Lake(settings.lake_uri).release(PROJECT.name, released.release)),
    )  # fmt: skip
    path = assignment_path(settings, PROJECT.name, settings.slot)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(asdict(told)).encode())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL_")}
    done = subprocess.run(
        [str(places.environment_python("serve")), "-m", "tests.moderation.slot"],
        cwd=ROOT, env=environment | {"TIDEMILL_HOME": str(settings.home)}, input=json.dumps({"rows": posts}).encode(),
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()[-2_000:]
    together, alone, explained, state = map(json.loads, done.stdout.decode().splitlines())
    assert state["ready"], state
    assert state["parity"]["furthest"] == 0, "the slot scores the stored vectors with other bits"
    return together["rows"], alone["rows"], explained["rows"]


def posts_of(day: date) -> list[dict]:
    rows = simulate.day(day, 1)["posts"].to_pylist()
    return [{**row, "event_time": row["event_time"].isoformat()} for row in rows]


def test_answers_have_classes_and_the_cheapest_decision_and_make_the_queue(released: Released) -> None:
    posts = posts_of(SERVED)
    together, alone, explained = answered(released, posts)
    classes, decisions = PROJECT.models[0].classes, PROJECT.models[0].decisions
    costs = np.array([one.costs for one in decisions])
    for answer in together:
        shares = np.array([answer["classes"][name] for name in classes])
        assert shares.sum() == pytest.approx(1)
        assert answer["probability"] == pytest.approx(1 - shares[0])
        assert answer["class"] in classes
        cheapest = decisions[int((costs @ shares).argmin())].name
        assert answer["decision"] in (cheapest, decisions[-1].name)
    assert {answer["decision"] for answer in together} == {"allow", "review", "block"}
    for one, whole, why in zip(alone, together, explained, strict=False):
        assert list(why["contributions"]) == list(PROJECT.models[0].told)
        assert one["classes"].keys() == whole["classes"].keys() == why["classes"].keys()
    days = Batches(SERVED, SERVED)
    assert ingest.run(PROJECT, released.settings, batches=days, source="predictions").exit_code == 0
    found = reviewing.items(PROJECT, released.settings, batches=days, reviewer="ann").facts["items"]
    asked = {post["post_id"] for post, answer in zip(posts, together, strict=True) if answer["decision"] == "review"}
    assert len(found) == PROJECT.review.items_a_day  # type: ignore[union-attr]
    assert {one["post_id"] for one in found if one["why"] == "decision"} <= asked
    assert {one["why"] for one in found} >= {"decision", "random"}


def test_verdicts_flow_back_as_a_source_and_agreement_is_known(released: Released, tmp_path: Path) -> None:
    settings, lake = released.settings, Lake(released.settings.lake_uri)
    day, today = Batches(SERVED, SERVED), datetime.now(UTC).date()
    for name, mistaken in (("ann", 0), ("bob", 12)):
        out = tmp_path / f"{name}.csv"
        assert reviewing.items(PROJECT, settings, batches=day, reviewer=name, out=out).exit_code == 0
        with out.open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert "score" not in rows[0], "a score would lead the reviewer"
        for place, row in enumerate(rows[:60]):
            harm = "spam" if "offer" in row["text"].lower() else "harmless"
            row["verdict"] = "abuse" if mistaken and place % mistaken == 0 else harm
        with out.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
        taken = reviewing.take(PROJECT, settings, file=out)
        assert taken.facts["verdicts"] == 60
        assert ingest.run(PROJECT, settings, batches=Batches(today, today), source="verdicts").exit_code == 0
        assert reviewing.take(PROJECT, settings, file=out).exit_code == 99, "the same verdicts are known"
        left = reviewing.items(PROJECT, settings, batches=day, reviewer=name).facts["items"]
        assert len(left) == len(rows) - 60
    found = reviewing.agree(PROJECT, settings, batches=Batches(today, today))
    assert found.exit_code == 0, found.line
    assert 0.4 < found.facts["alpha"] < 1
    assert found.facts["reviewers"]["ann"]["pairs"] > 20
    raw = lake.raw(PROJECT.name, "verdicts", today)
    assert raw.is_dir()


def test_a_file_with_a_wrong_verdict_lands_nothing_and_names_the_line(released: Released, tmp_path: Path) -> None:
    file = tmp_path / "wrong.csv"
    file.write_text("post_id,reviewer_id,verdict\np1,ann,spam\np2,ann,rude\np3,,spam\n")
    with pytest.raises(
        DataRejected, match=r"line 3: verdict 'rude' is not one of harmless, spam, abuse\n.*line 4: an id"
    ):
        reviewing.take(PROJECT, released.settings, file=file)


def test_posts_of_a_file_are_scored_and_decided(released: Released, tmp_path: Path) -> None:
    posts, file, out = posts_of(SERVED), tmp_path / "posts.jsonl", tmp_path / "scores.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in posts))
    predict.run(PROJECT, released.settings, file=file, release=released.release, out=out)
    rows = {one["event_id"]: one for one in map(json.loads, out.read_text().splitlines())}
    assert set(rows) == {post["post_id"] for post in posts}
    assert {row["decision"] for row in rows.values()} == {"allow", "review", "block"}
    harmful = {"buy", "cheap", "coupon", "winner", "teapots"}
    spam = [post["post_id"] for post in posts if len(harmful & set(post["text"].lower().split())) > 2]
    assert np.mean([rows[name]["decision"] == "allow" for name in spam]) < 0.1
