"""An online store in one DynamoDB table: an item a value, whose key `pk` is `<project>:<view>:<key>`.

Its attributes: `t` the value's 8 bytes of time, `l` its layout, `m` its first 24 bytes, `v` the whole value.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, TypeVar

from jobs.errors import ServiceError
from jobs.features.online.backend import Change
from jobs.features.online.packing import HEADER, MARK, TIME

_REQUEST_SECONDS, _PATIENT_SECONDS = 0.25, 60.0
_READ_AT_ONCE, _WRITE_AT_ONCE, _THREADS = 100, 1_000, 16
_NEWER = "attribute_not_exists(pk) OR t <= :t OR l <> :l"
_THROTTLED = {
    "ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "InternalServerError",
}  # fmt: skip
_T = TypeVar("_T")


class DynamoDB:
    """A client with a pool of threads, because a conditional write is a call of its own; safe to share."""

    def __init__(self, table: str, project: str, region: str | None = None, endpoint: str | None = None) -> None:
        self._table, self._project, self._region, self._endpoint = table, project, region, endpoint
        self.label, self._lock = f"DynamoDB table {table}", threading.Lock()
        self._made: tuple[Any, ThreadPoolExecutor] | None = None

    def ensure(self) -> None:
        client, _ = self._clients()
        with self._errors():
            try:
                client.describe_table(TableName=self._table)
            except client.exceptions.ResourceNotFoundException:
                self._create(client)

    def get(self, names: Sequence[str], *, patient: bool) -> dict[str, bytes]:
        client, pool = self._clients()
        deadline = time.monotonic() + (_PATIENT_SECONDS if patient else _REQUEST_SECONDS)
        asked = [{"pk": {"S": f"{self._project}:{name}"}} for name in dict.fromkeys(names)]

        def read(keys: list[dict[str, Any]]) -> Iterator[tuple[str, bytes]]:
            attempt = 0
            while keys:
                request = {self._table: {"Keys": keys, "ConsistentRead": True, "ProjectionExpression": "pk, v"}}
                answer = _retried(lambda: client.batch_get_item(RequestItems=request), deadline)  # noqa: B023
                for item in answer["Responses"].get(self._table, ()):
                    yield item["pk"]["S"], item["v"]["B"]
                keys = answer.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys", [])
                if keys:
                    _rest(attempt, deadline)
                    attempt += 1

        start = len(self._project) + 1
        with self._errors():
            parts = [asked[at : at + _READ_AT_ONCE] for at in range(0, len(asked), _READ_AT_ONCE)]
            found = pool.map(lambda keys: list(read(keys)), parts) if len(parts) > 1 else map(read, parts)
            return {key[start:]: value for part in found for key, value in part}

    def put(self, rows: Iterable[tuple[str, bytes]]) -> int:
        _, pool = self._clients()
        written, rows = 0, iter(rows)

        def write(row: tuple[str, bytes]) -> bool:
            values = {":t": {"B": row[1][:TIME]}, ":l": {"B": row[1][TIME:HEADER]}}
            return self._put(row[0], row[1], _NEWER, values, time.monotonic() + _PATIENT_SECONDS)

        while some := list(islice(rows, _WRITE_AT_ONCE)):
            with self._errors():
                written += sum(pool.map(write, some))
        return written

    def swap(self, changes: Sequence[Change], *, patient: bool) -> list[bool]:
        _, pool = self._clients()
        deadline = time.monotonic() + (_PATIENT_SECONDS if patient else 0.0)

        def write(change: Change) -> bool:
            if change.before is None:
                return self._put(change.name, change.after, "attribute_not_exists(pk)", {}, deadline)
            return self._put(change.name, change.after, "m = :m", {":m": {"B": change.before}}, deadline)

        with self._errors():
            return list(pool.map(write, changes) if len(changes) > 1 else map(write, changes))

    def sweep(self, prefix: str, layout: bytes) -> None:
        client, pool = self._clients()
        with self._errors():
            pages = client.get_paginator("scan").paginate(
                TableName=self._table,
                ProjectionExpression="pk",
                FilterExpression="begins_with(pk, :p) AND l <> :l",
                ExpressionAttributeValues={":p": {"S": f"{self._project}:{prefix}"}, ":l": {"B": layout}},
            )
            for page in pages:
                deadline = time.monotonic() + _PATIENT_SECONDS

                def delete(item: dict[str, Any], deadline: float = deadline) -> None:
                    _retried(lambda: client.delete_item(TableName=self._table, Key={"pk": item["pk"]}), deadline)

                list(pool.map(delete, page["Items"]))

    def close(self) -> None:
        with self._lock:
            if self._made is not None:
                self._made[0].close()

    def _clients(self) -> tuple[Any, ThreadPoolExecutor]:
        with self._lock:
            if self._made is None:
                import boto3
                from botocore.config import Config

                config = Config(
                    connect_timeout=_REQUEST_SECONDS,
                    read_timeout=1.0,
                    retries={"total_max_attempts": 1},
                    max_pool_connections=_THREADS,
                )
                with self._errors():
                    client = boto3.client(
                        "dynamodb", region_name=self._region, endpoint_url=self._endpoint, config=config
                    )
                self._made = client, ThreadPoolExecutor(_THREADS, thread_name_prefix="dynamodb")
            return self._made

    def _put(self, name: str, value: bytes, condition: str, values: dict[str, Any], deadline: float) -> bool:
        client, _ = self._clients()
        item = {
            "pk": {"S": f"{self._project}:{name}"},
            "t": {"B": value[:TIME]},
            "l": {"B": value[TIME:HEADER]},
            "m": {"B": value[:MARK]},
            "v": {"B": value},
        }
        given: dict[str, Any] = {"ExpressionAttributeValues": values} if values else {}
        try:
            _retried(
                lambda: client.put_item(TableName=self._table, Item=item, ConditionExpression=condition, **given),
                deadline,
            )
        except client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def _create(self, client: Any) -> None:
        with suppress(client.exceptions.ResourceInUseException):  # another process made it just now
            client.create_table(
                TableName=self._table,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
                KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            )
        client.get_waiter("table_exists").wait(TableName=self._table, WaiterConfig={"Delay": 1, "MaxAttempts": 60})

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError, OSError) as error:
            hint = "see `tidemill doctor`"
            if "ResourceNotFound" in str(error):
                hint = (
                    "`tidemill features` makes it where it may, or `aws dynamodb create-table --billing-mode "
                    f"PAY_PER_REQUEST --table-name {self._table} --attribute-definitions "
                    "AttributeName=pk,AttributeType=S --key-schema AttributeName=pk,KeyType=HASH`"
                )
            raise ServiceError(f"the online store, {self.label}, does not answer: {error}; {hint}") from error


def _retried(call: Callable[[], _T], deadline: float) -> _T:
    """What the call returns, tried again when it was throttled and the deadline has not passed."""
    from botocore.exceptions import ClientError

    attempt = 0
    while True:
        try:
            return call()
        except ClientError as error:
            if error.response["Error"]["Code"] not in _THROTTLED or time.monotonic() >= deadline:
                raise
        _rest(attempt, deadline)
        attempt += 1


def _rest(attempt: int, deadline: float) -> None:
    if time.monotonic() >= deadline:
        raise TimeoutError("it was throttled for longer than may be waited")
    time.sleep(random.uniform(0, min(2.0, 0.01 * 2**attempt)))  # noqa: S311
