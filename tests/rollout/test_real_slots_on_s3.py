"""A rollout with the lake on S3 and real slots: each deployment is a machine of its own that has nothing yet."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from jobs import bucket
from jobs.features.materialize import materialize
from jobs.lake import MIRROR
from jobs.projects.fraud.spec import FRAUD
from jobs.release.ledger import Ledger
from jobs.rollout.ecs import EcsSlots
from jobs.rollout.fleet import Routers
from jobs.rollout.routes import Sharing
from jobs.services import places
from jobs.services.ports import SLOTS, port
from tests.clients import asking
from tests.rollout.cloud import KEY, PROJECT, ROUTERS, Cloud, cloud
from tests.rollout.conftest import Load
from tests.rollout.policies import POLICIES
from tests.rollout.walking import walk

pytestmark = [pytest.mark.services, pytest.mark.timeout(400)]


@dataclass
class Tasks:
    """What ECS would run of each slot: a process in a home that no other deployment has."""

    made: Cloud
    deployments: int = 0

    def deploy(self, slot: str, count: int) -> None:
        """Stops the slot's task, if one runs, and starts another unless none is wanted."""
        service = f"serve-{PROJECT}-{slot}"
        for name in [one for one in self.made.running if one.startswith(service)]:
            self.made.deregister(service, "127.0.0.1")
            self.made.stop(name)
        if count:
            self.deployments += 1
            home = self.made.home / f"{service}-{self.deployments}"
            self.made.start(home.name, [str(places.environment_python("serve")), "-m", "bentos", PROJECT, slot], home)
            self.made.register(service, "127.0.0.1")

    def fetched(self, number: int) -> set[str]:
        """The releases that the task of a deployment has fetched from S3."""
        (home,) = self.made.home.glob(f"serve-{PROJECT}-*-{number}")
        return {path.parent.name for path in (home / MIRROR).rglob(f"releases/{PROJECT}/*/manifest.json")}


@pytest.fixture
def made(aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    monkeypatch.setattr("jobs.lake.HOME", tmp_path / "controller")
    monkeypatch.setattr(EcsSlots, "pause", 0.1)
    with cloud(aws, tmp_path) as found:
        materialize(FRAUD, found.settings)  # nothing is published: every view is there, and empty
        yield found


def records(made: Cloud, zone: str) -> Counter[str]:
    """How many records of each release are on S3."""
    place, found = bucket.Bucket(made.settings.lake_uri.removeprefix("s3://")), Counter[str]()
    for one in place.listed(f"{zone}/{PROJECT}/predictions/batch="):
        landed = place.get(one.key)
        assert landed is not None
        found.update(json.loads(line)["release"] for line in landed.data.splitlines())
    return found


def test_releases_come_from_s3_and_records_go_there_from_the_shadow_to_the_promotion_and_back(
    made: Cloud, postgres: str
) -> None:
    tasks, routers = Tasks(made), Routers(made.settings)
    made.deployed = tasks.deploy
    first = walk(made, postgres)
    then = replace(first, project=replace(first.project, canary=POLICIES["shadow"]))
    traffic = Load(f"http://{ROUTERS[0]}:{port(made.settings, 'router')}", key=KEY)
    made.start_router(ROUTERS[0])
    with made.aws():
        held = first.champion()
        assert tasks.fetched(1) == {held}
        fresh = then.challenger(2)
        with asking(traffic.ask, traffic.over, 2):
            assert then.ask("start")[0] == 0
            assert tasks.fetched(2) == {fresh}
            code, facts = then.decided("shadow")
            assert (code, facts["verdict"]) == (0, "PROMOTE"), facts
            checks = {check["name"]: check["value"] for check in facts["checks"]}
            assert checks["compared"] >= POLICIES["shadow"].shadow_requests, "by what both have landed on S3"
            assert traffic.releases.keys() == {held}, "nobody was answered by the shadow"
            for step, weights in ((50, {"blue": 50, "green": 50}), (100, {"blue": 0, "green": 100})):
                code, facts = then.decided("step", percent=step)
                assert (code, routers.weights(PROJECT)) == (0, weights), facts
            assert then.decided("bake")[0] == 0
            code, facts = then.decided("promote")
            assert (code, facts["epoch"]) == (0, 2), facts
            assert then.ask("status")[1]["replayed"]["value"] >= then.project.replay.minimum_identical
            code, facts = then.ask("start", rehearse="errors")
            assert (code, facts["release"], facts["slot"]) == (0, fresh, "blue"), facts
            code, facts = then.decided("shadow")
            assert (code, facts["state"]) == (1, "rolled_back"), facts
            assert "requests failed" in facts["reason"]
        assert routers.sharing(PROJECT) == Sharing(weights={"blue": 0, "green": 100}, stable="green")
        for slot in SLOTS:
            tasks.deploy(slot, 0)
    assert set(traffic.statuses) == {200}
    with Ledger(then.settings.need("database_url")) as ledger:
        champion = ledger.champion(PROJECT)
    assert champion is not None
    assert (champion.epoch, champion.release) == (2, fresh)
    landed = records(made, "landing")
    assert landed.keys() == traffic.releases.keys() == {held, fresh}
    assert all(landed[name] >= count for name, count in traffic.releases.items()), "a slot that is stopped loses none"
    assert records(made, "shadow").keys() == {fresh}
