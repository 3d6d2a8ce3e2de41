"""A load balancer's weights: what ELB's API is asked, and a walk that nobody can be asked in the shadow on."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from jobs.errors import ServiceError, SettingError, UsageError
from jobs.rollout import aws as rollout_aws
from jobs.rollout.balancer import Balancer
from jobs.rollout.counters import between
from jobs.rollout.ecs import EcsSlots
from jobs.rollout.routes import Sharing
from jobs.services.ports import port
from jobs.settings import Settings
from tests import buckets
from tests.clients import asking
from tests.proxies import Answer, Asked
from tests.proxies import between as proxied
from tests.rollout.cloud import PROJECT, Cloud, cloud
from tests.rollout.walking import walk

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]


@pytest.fixture
def made(aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    monkeypatch.setattr("jobs.lake.HOME", tmp_path / "controller")
    monkeypatch.setattr(EcsSlots, "pause", 0.1)
    monkeypatch.setattr(Balancer, "settle_seconds", 0.0)
    monkeypatch.setattr(Balancer, "quiet_seconds", 1.5)
    with cloud(aws, tmp_path, "weights", listener_rules={PROJECT: forwarding()}) as found:
        yield found


def forwarding() -> dict[str, str]:
    """A load balancer whose rule forwards to two target groups, all to blue."""
    elb, ec2, name = buckets.client("elbv2"), buckets.client("ec2"), f"t{uuid.uuid4().hex[:8]}"
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    zones = {"10.0.1.0/24": "eu-central-1a", "10.0.2.0/24": "eu-central-1b"}
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=block, AvailabilityZone=zone)["Subnet"]["SubnetId"]
        for block, zone in zones.items()
    ]
    balancer = elb.create_load_balancer(Name=name, Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
    common: dict[str, Any] = {"VpcId": vpc, "TargetType": "ip", "Protocol": "HTTP", "Port": 8710}
    groups = {
        slot: elb.create_target_group(Name=f"{slot}-{name}", **common)["TargetGroups"][0]["TargetGroupArn"]
        for slot in ("blue", "green")
    }
    nothing = [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}]
    listener = elb.create_listener(LoadBalancerArn=balancer, Protocol="HTTP", Port=80, DefaultActions=nothing)
    weights = [{"TargetGroupArn": groups[slot], "Weight": weight} for slot, weight in (("blue", 100), ("green", 0))]
    rule = elb.create_rule(
        ListenerArn=listener["Listeners"][0]["ListenerArn"], Priority=1,
        Conditions=[{"Field": "path-pattern", "Values": ["/fraud/predict"]}],
        Actions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": weights}}],
    )  # fmt: skip
    return {"rule": rule["Rules"][0]["RuleArn"], **groups}


def balancer(made: Cloud) -> Balancer:
    return Balancer(made.settings, EcsSlots(made.settings))


def changes(asked: list[Asked]) -> int:
    return sum(one.text.startswith("Action=ModifyRule") for one in asked)


def test_weights_are_the_rules_own_and_are_moved_only_when_they_change(made: Cloud) -> None:
    own = balancer(made)
    assert own.weights(PROJECT) == {"blue": 100, "green": 0}
    with proxied(made.address, lambda _, forward: forward()) as asked:
        own.set_weights(PROJECT, {"blue": 75, "green": 25}, stable="blue")
        own.set_weights(PROJECT, {"blue": 75, "green": 25}, stable="blue", shadow="green")
    assert changes(asked) == 1
    assert own.sharing(PROJECT) == Sharing(weights={"blue": 75, "green": 25}, stable="blue")
    assert own.holds(PROJECT, Sharing(weights={"blue": 75, "green": 25}, stable="green"))
    with pytest.raises(UsageError, match="sum to 100"):
        own.set_weights(PROJECT, {"blue": 75}, stable="blue")
    with pytest.raises(ServiceError, match="it was not stopped"):
        own.drain(PROJECT, "green", 1)


def test_a_slot_is_drained_once_it_answers_nothing_more(made: Cloud) -> None:
    own = balancer(made)
    made.deploy("green", 1)
    over = threading.Event()

    def ask(_: int) -> None:
        while not over.is_set():
            made.slots["green"].statuses["200"] = made.slots["green"].statuses.get("200", 0) + 1
            time.sleep(0.05)

    with asking(ask, over, 1), pytest.raises(ServiceError, match="still answers requests after 2 seconds"):
        own.drain(PROJECT, "green", 2)
    own.drain(PROJECT, "green", 10)
    made.deploy("green", 0)
    own.drain(PROJECT, "green", 0)


def test_counts_are_the_tasks_own_and_health_is_the_load_balancers(made: Cloud) -> None:
    own = balancer(made)
    made.deploy("green", 1)
    before = own.observe(PROJECT)["green"]
    made.slots["green"].statuses = {"200": 90, "500": 10}
    after = own.observe(PROJECT)["green"]
    seen = between(before, after)
    assert (seen.requests, seen.errors, seen.latency) == (100, 10, ((5.0, 90.0),))
    assert not after.healthy
    group = made.settings.listener_rules[PROJECT]["green"]
    targets = [{"Id": "10.0.1.9", "Port": 8710}]
    buckets.client("elbv2").register_targets(TargetGroupArn=group, Targets=targets)
    assert own.observe(PROJECT)["green"].healthy
    made.register(f"serve-{PROJECT}-green", "127.0.0.6")
    with pytest.raises(ServiceError, match=r"127.0.0.6.* cannot be asked for its count"):
        own.observe(PROJECT)


@pytest.mark.parametrize(
    ("code", "status", "error", "told"),
    [("AccessDenied", 403, SettingError, "Allow this role elasticloadbalancing:ModifyRule"),
     ("RuleNotFound", 400, SettingError, "which TIDEMILL_LISTENER_RULES names; nothing was changed"),
     ("Throttling", 400, ServiceError, "Throttling after 2 attempts; nothing was changed")],
)  # fmt: skip
def test_what_a_load_balancer_refuses_names_what_to_set_or_allow(
    made: Cloud, monkeypatch: pytest.MonkeyPatch, code: str, status: int, error: type[Exception], told: str
) -> None:
    monkeypatch.setattr(rollout_aws, "ATTEMPTS", 2)

    def change(asked: Asked, forward: Any) -> Answer:
        if "Action=ModifyRule" not in asked.text:
            return forward()  # type: ignore[no-any-return]
        text = f"<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"
        return Answer(status, text.encode(), {"Content-Type": "text/xml"})

    own = balancer(made)
    with proxied(made.address, change), pytest.raises(error, match=told):
        own.set_weights(PROJECT, {"green": 100}, stable="green")
    assert own.weights(PROJECT) == {"blue": 100, "green": 0}


def test_a_project_without_a_rule_or_with_anothers_is_told(made: Cloud) -> None:
    with pytest.raises(SettingError, match="TIDEMILL_LISTENER_RULES has no rule of ads"):
        balancer(made).weights("ads")
    arns = made.settings.listener_rules[PROJECT]
    wrong = made.settings.model_copy(update={"listener_rules": {PROJECT: arns | {"green": "arn:other"}}})
    with pytest.raises(SettingError, match="not to its two slots by 100 percent"):
        Balancer(wrong, EcsSlots(wrong)).weights(PROJECT)


@contextmanager
def clients(made: Cloud, settings: Settings) -> Iterator[None]:
    """Requests, shared out by the rule's weights as the load balancer would."""
    over, own = threading.Event(), Balancer(settings, EcsSlots(settings))

    def ask(_: int) -> None:
        asked, weights = 0, own.weights(PROJECT)
        while not over.is_set():
            asked += 1
            if asked % 20 == 0:
                weights = own.weights(PROJECT)
            slot = "green" if asked * 37 % 100 < weights["green"] else "blue"
            with httpx.Client() as client:
                number = port(settings, f"serve-{PROJECT}-{slot}")
                client.post(f"http://127.0.0.1:{number}/{PROJECT}/predict", json={})

    with asking(ask, over, 1):
        yield


def test_a_walk_passes_the_shadow_over_and_goes_back_when_the_candidate_fails(made: Cloud, postgres: str) -> None:
    walked = walk(made, postgres, shadow_seconds=60)
    with made.aws():
        walked.champion()
        fresh = walked.challenger(2)
        code, facts = walked.ask("start")
        assert (code, facts["release"], facts["slot"]) == (0, fresh, "green"), facts
        code, facts = walked.decided("shadow")
        assert (code, facts["verdict"]) == (0, "PROMOTE")
        assert "passed over, because a load balancer mirrors no request" in facts["reason"]
        with clients(made, walked.settings):
            code, facts = walked.decided("step", percent=50)
            assert (code, balancer(made).weights(PROJECT)) == (0, {"blue": 50, "green": 50}), facts
            assert walked.ask("step", percent=100)[0] == 99
            made.slots["green"].failing = True
            code, facts = walked.decided("step", percent=100)
    assert (code, facts["state"]) == (1, "rolled_back"), facts
    assert "requests failed" in facts["reason"]
    assert balancer(made).weights(PROJECT) == {"blue": 100, "green": 0}
