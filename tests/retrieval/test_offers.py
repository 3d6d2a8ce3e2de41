"""Lists that a slot makes: found, ranked, re-ranked, answered and logged, by a real release and a real store."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from typing import Any

import pytest

from jobs.lake import Lake
from jobs.services import places
from jobs.settings import ROOT, Settings
from tests.retrieval.release import NOW, history, home, nightly

ITEMS = 600


def visit(user: int, **changes: Any) -> dict[str, Any]:
    known = {
        "impression_id": f"V{user}", "event_time": NOW.isoformat(), "request_id": f"V{user}", "user_id": f"U{user}",
        "last_item_id": 0,
    }  # fmt: skip
    return known | changes


def ask(settings: Settings, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    python = places.environment_python("serve")
    assert python.exists(), f"{python} is missing; run `make environments`"
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(settings.home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
        "TIDEMILL_HOME": str(settings.home), "TIDEMILL_LAKE_URI": settings.lake_uri,
        "TIDEMILL_ONLINE_STORE_URL": settings.online_store_url, "TIDEMILL_API_KEY": "key-of-these-tests",
    }  # fmt: skip
    done = subprocess.run(
        [python, "-m", "tests.retrieval.asked"], input="\n".join(map(json.dumps, bodies)).encode(),
        env=environment, cwd=ROOT, capture_output=True, check=False, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()[-3_000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def answered(tmp_path_factory) -> tuple[Settings, dict[str, Any]]:
    settings = home(tmp_path_factory.mktemp("offers"), ITEMS)
    item = {"item_id": 17, "topic": 5, "published_day": 20_400}
    bodies = {
        "known": visit(1),
        "new": visit(9_999),
        "session": visit(9_998, last_item_id=12),
        "named": visit(3, **item),
        "part": visit(4, item_id=17),
        "several": {"rows": [visit(5), visit(6, **item)]},
    }
    found = ask(settings, list(bodies.values()))
    return settings, dict(zip(bodies, [one["answer"] for one in found], strict=True))


def items(answer: dict[str, Any]) -> list[int]:
    return [row["item"]["item_id"] for row in answer["rows"] if "item" in row]


def test_a_viewer_gets_a_list_of_what_they_have_not_had_that_keeps_to_the_rules(answered):
    _, answers = answered
    rows = answers["known"]["rows"]
    assert [row["position"] for row in rows] == list(range(1, 11))
    assert len(set(items(answers["known"]))) == 10
    assert not set(items(answers["known"])) & set(history(1))
    assert max(Counter(row["item"]["topic"] for row in rows).values()) <= 4


def test_every_item_of_a_list_has_a_number_of_its_own_and_is_logged_with_its_vector(answered):
    settings, answers = answered
    given = [row["item"]["impression_id"] for row in answers["known"]["rows"]]
    assert given == [f"V1-{place}" for place in range(1, 11)]
    folder = Lake(settings.lake_uri).landing("recsys", "predictions", NOW.date())
    logged = [json.loads(line) for path in folder.glob("*.jsonl") for line in path.read_text().splitlines()]
    mine = {one["event_id"]: one for one in logged if one["event_id"].startswith("V1-")}
    assert sorted(mine) == sorted(given)  # what was only a candidate leaves no trace
    for row in answers["known"]["rows"]:
        record = mine[row["item"]["impression_id"]]
        assert json.loads(record["payload"])["item_id"] == row["item"]["item_id"]
        assert len(json.loads(record["vector"])) == 15


def test_who_is_new_gets_a_list_and_one_item_in_the_session_changes_it(answered):
    _, answers = answered
    assert len(items(answers["new"])) == len(items(answers["session"])) == 10
    assert set(items(answers["new"])) != set(items(answers["session"]))
    assert 12 not in items(answers["session"])


def test_a_row_that_names_its_item_is_answered_as_it_is_and_a_part_of_an_item_is_refused(answered):
    _, answers = answered
    assert "item" not in answers["named"]
    assert answers["named"]["position"] == 1
    assert (answers["part"]["status"], answers["part"]["field"]) == (422, "topic")
    assert len(answers["several"]["rows"]) == 11
    assert len(items(answers["several"])) == 10


def test_what_was_made_ready_at_night_is_a_candidate(answered):
    settings, _ = answered
    found = {item for one in ask(settings, [visit(user) for user in range(20, 40)]) for item in items(one["answer"])}
    assert found & {nightly(user)[0] for user in range(20, 40)}
