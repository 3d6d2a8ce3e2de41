"""What only DynamoDB does: keys it leaves unread, and calls it throttles."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSRequest, AWSResponse

from jobs.errors import ServiceError
from jobs.features.online import OnlineStore
from jobs.spec import Project
from tests.features.stores import NOW, PROFILE, Payment, T, asked, filled, house

_projects = count()
Answer = Callable[[AWSRequest], AWSResponse | None]


class Service:
    """Stands before the real service and answers some calls itself."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.answers: dict[str, Answer] = {}
        make = boto3.client

        def client(*given: Any, **options: Any) -> Any:
            made = make(*given, **options)
            made.meta.events.register("before-send.dynamodb", self._answer)
            return made

        patch.setattr(boto3, "client", client)

    def _answer(self, request: AWSRequest, event_name: str, **_: Any) -> AWSResponse | None:
        answer = self.answers.get(event_name.rpartition(".")[2])
        return answer(request) if answer else None


class Raw:
    """A response's body, as the HTTP library hands it over."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self) -> Iterator[bytes]:
        yield self._body

    def read(self) -> bytes:
        return self._body


def response(request: AWSRequest, status: int, body: dict[str, Any]) -> AWSResponse:
    headers = {"content-type": "application/x-amz-json-1.0"}
    return AWSResponse(request.url, status, headers, Raw(json.dumps(body).encode()))


def throttled(times: int) -> Answer:
    left = [times]

    def answer(request: AWSRequest) -> AWSResponse | None:
        left[0] -= 1
        error = "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"
        return response(request, 400, {"__type": error, "message": "slow down"}) if left[0] >= 0 else None

    return answer


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    return Service(monkeypatch)


@pytest.fixture
def project() -> Project:
    return house(f"d{next(_projects)}")


@pytest.fixture
def store(service: Service, dynamodb: str, project: Project) -> OnlineStore:
    store = OnlineStore.open(f"dynamodb://throttled?region=eu-central-1&endpoint={dynamodb}", project)
    filled(store, project)
    return store


def test_keys_that_are_left_unread_are_asked_for_again(service: Service, store: OnlineStore) -> None:
    store.write(PROFILE, [((f"c{at}",), T, [at, 0]) for at in range(60)])
    asked_for: list[int] = []

    def half(request: AWSRequest) -> AWSResponse | None:
        ((table, wanted),) = json.loads(request.body)["RequestItems"].items()
        asked_for.append(len(wanted["Keys"]))
        if len(asked_for) > 3:
            return None
        return response(request, 200, {"Responses": {table: []}, "UnprocessedKeys": {table: wanted}})

    service.answers["BatchGetItem"] = half
    values, found = store.read(PROFILE, [(f"c{at}",) for at in range(60)], [T] * 60)
    assert found.all()
    assert values[:, 0].tolist() == list(range(60))
    assert asked_for == [60] * 4


def test_a_bulk_write_that_is_throttled_is_tried_again(service: Service, store: OnlineStore) -> None:
    service.answers["PutItem"] = throttled(3)
    assert store.write(PROFILE, [((f"c{at}",), T, [at, 0]) for at in range(5)]) == 5
    assert store.read(PROFILE, [("c4",)], [T])[0].tolist() == [[4, 0]]


def test_a_request_that_is_throttled_is_answered_and_stored_later(service: Service, store: OnlineStore) -> None:
    service.answers["PutItem"] = throttled(1_000)
    assert store.look_up(*asked([Payment("e", T)]), now_us=NOW).values["pair"].tolist() == [[1, 100, 100]]
    assert store.unsaved == (2, 0)
    service.answers.clear()
    assert store.look_up(*asked([Payment("f", T + 1)]), now_us=NOW).values["pair"].tolist() == [[2, 200, 100]]
    assert store.unsaved == (0, 0)


def test_a_request_that_cannot_be_read_in_time_is_a_service_error(service: Service, store: OnlineStore) -> None:
    service.answers["BatchGetItem"] = throttled(1_000)
    with pytest.raises(ServiceError, match="DynamoDB table throttled, does not answer"):
        store.look_up(*asked([Payment("e", T)]), now_us=NOW)
    service.answers.clear()
    assert store.look_up(*asked([Payment("f", T + 1)]), now_us=NOW).values["pair"].tolist() == [[2, 200, 100]]


def test_a_denial_names_what_to_allow_and_is_not_repeated(service: Service, store: OnlineStore) -> None:
    times: list[AWSRequest] = []

    def denied(request: AWSRequest) -> AWSResponse:
        times.append(request)
        error = {"__type": "com.amazon.coral.service#AccessDeniedException", "message": "not authorized"}
        return response(request, 400, error)

    service.answers["BatchGetItem"] = denied
    with pytest.raises(
        ServiceError, match=r"AccessDeniedException.*allow this role dynamodb:BatchGetItem.*kms:Decrypt"
    ):
        store.read(PROFILE, [("c",)], [T])
    assert len(times) == 1


def test_without_credentials_it_is_told_which_to_set(
    dynamodb: str, project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    store = OnlineStore.open(f"dynamodb://t?region=eu-central-1&endpoint={dynamodb}", project)
    with pytest.raises(ServiceError, match="run with a role, or set AWS_PROFILE"):
        store.look_up(*asked([Payment("e", T)]), now_us=NOW)
