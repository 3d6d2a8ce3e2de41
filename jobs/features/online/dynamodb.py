"""An online store in one DynamoDB table: an item a value, whose key `pk` is `<project>:<view>:<key>`.

Its attributes: `t` the value's 8 bytes of time, `l` its layout, `m` its first 24 bytes, `v` the whole value.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any

from jobs.errors import ServiceError, SettingError
from jobs.features.online.backend import ACCEPTED, Change
from jobs.features.online.packing import HEADER, MARK, TIME

_REQUEST_SECONDS, _PATIENT_SECONDS = 0.5, 60.0
_ATTEMPTS = 10
"""How often a bulk call is tried when it is throttled, with growing, random pauses; a request's is not tried again."""
_READ_AT_ONCE, _WRITE_AT_ONCE, _THREADS = 100, 1_000, 16
_NEWER = "attribute_not_exists(pk) OR t <= :t OR l <> :l"


class DynamoDB:
    """Two clients and a pool of threads, because a conditional write is a call of its own; safe to share."""

    def __init__(self, table: str, project: str, region: str | None = None, endpoint: str | None = None) -> None:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        def client(seconds: float, attempts: int) -> Any:
            config = Config(
                connect_timeout=seconds,
                read_timeout=seconds,
                retries={"mode": "standard", "total_max_attempts": attempts},
                max_pool_connections=_THREADS,
            )
            return boto3.client("dynamodb", region_name=region, endpoint_url=endpoint, config=config)

        self.label, self._table, self._project = f"DynamoDB table {table}", table, project
        try:
            self._request, self._bulk = client(_REQUEST_SECONDS, 1), client(_PATIENT_SECONDS, _ATTEMPTS)
        except (BotoCoreError, ValueError) as error:
            raise SettingError(f"TIDEMILL_ONLINE_STORE_URL: {error} It must be {ACCEPTED}") from None
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="dynamodb")

    def ensure(self) -> None:
        with self._errors():
            try:
                self._bulk.describe_table(TableName=self._table)
            except self._bulk.exceptions.ResourceNotFoundException:
                with suppress(self._bulk.exceptions.ResourceInUseException):  # another process makes it just now
                    self._bulk.create_table(
                        TableName=self._table,
                        BillingMode="PAY_PER_REQUEST",
                        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
                        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
                    )
                waiter = self._bulk.get_waiter("table_exists")
                waiter.wait(TableName=self._table, WaiterConfig={"Delay": 1, "MaxAttempts": 60})

    def get(self, names: Sequence[str], *, patient: bool) -> dict[str, bytes]:
        asked = [{"pk": {"S": f"{self._project}:{name}"}} for name in dict.fromkeys(names)]
        parts = [asked[at : at + _READ_AT_ONCE] for at in range(0, len(asked), _READ_AT_ONCE)]
        start = len(self._project) + 1
        with self._errors():
            each = self._pool.map if len(parts) > 1 else map
            found = each(lambda keys: self._read(keys, patient), parts)
            return {item["pk"]["S"][start:]: item["v"]["B"] for part in found for item in part}

    def put(self, rows: Iterable[tuple[str, bytes]]) -> int:
        written, rows = 0, iter(rows)

        def write(row: tuple[str, bytes]) -> bool:
            return self._write(self._bulk, *row, _NEWER, {":t": row[1][:TIME], ":l": row[1][TIME:HEADER]})

        while some := list(islice(rows, _WRITE_AT_ONCE)):
            with self._errors():
                written += sum(self._pool.map(write, some))
        return written

    def swap(self, changes: Sequence[Change], *, patient: bool) -> list[bool]:
        client = self._bulk if patient else self._request

        def write(change: Change) -> bool:
            if change.before is None:
                return self._write(client, change.name, change.after, "attribute_not_exists(pk)", {})
            return self._write(client, change.name, change.after, "m = :m", {":m": change.before})

        with self._errors():
            return list(self._pool.map(write, changes) if len(changes) > 1 else map(write, changes))

    def sweep(self, prefix: str, layout: bytes) -> None:
        with self._errors():
            pages = self._bulk.get_paginator("scan").paginate(
                TableName=self._table,
                ProjectionExpression="pk",
                FilterExpression="begins_with(pk, :p) AND l <> :l",
                ExpressionAttributeValues={":p": {"S": f"{self._project}:{prefix}"}, ":l": {"B": layout}},
            )
            for page in pages:
                list(self._pool.map(lambda key: self._bulk.delete_item(TableName=self._table, Key=key), page["Items"]))

    def close(self) -> None:
        self._request.close()
        self._bulk.close()

    def _read(self, keys: list[dict[str, Any]], patient: bool) -> list[dict[str, Any]]:
        client, seconds = (self._bulk, _PATIENT_SECONDS) if patient else (self._request, _REQUEST_SECONDS)
        found: list[dict[str, Any]] = []
        deadline, pause = time.monotonic() + seconds, 0.01
        while True:
            request = {self._table: {"Keys": keys, "ConsistentRead": True, "ProjectionExpression": "pk, v"}}
            answer = client.batch_get_item(RequestItems=request)
            found += answer["Responses"].get(self._table, [])
            keys = answer.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys", [])
            if not keys:
                return found
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{len(keys)} keys were left unread for {seconds} s")
            time.sleep(random.uniform(0, pause))  # noqa: S311
            pause = min(1.0, 2 * pause)

    def _write(self, client: Any, name: str, value: bytes, condition: str, given: dict[str, bytes]) -> bool:
        item = {
            "pk": {"S": f"{self._project}:{name}"},
            "t": {"B": value[:TIME]},
            "l": {"B": value[TIME:HEADER]},
            "m": {"B": value[:MARK]},
            "v": {"B": value},
        }
        values = {"ExpressionAttributeValues": {name: {"B": one} for name, one in given.items()}} if given else {}
        try:
            client.put_item(TableName=self._table, Item=item, ConditionExpression=condition, **values)
        except client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError, OSError) as error:
            hint = self._hint(str(error))
            raise ServiceError(f"the online store, {self.label}, does not answer: {error}; {hint}") from error

    def _hint(self, said: str) -> str:
        if "ResourceNotFound" in said:
            return (
                "`tidemill features` makes it where it may, or `aws dynamodb create-table --billing-mode "
                f"PAY_PER_REQUEST --table-name {self._table} --attribute-definitions "
                "AttributeName=pk,AttributeType=S --key-schema AttributeName=pk,KeyType=HASH`"
            )
        if "AccessDenied" in said:
            return (
                "allow this role dynamodb:BatchGetItem, PutItem, DescribeTable, Scan and DeleteItem on it, and kms:Decrypt "
                "on its key; `aws sts get-caller-identity` shows the role"
            )
        if "Unable to locate credentials" in said:
            return "run with a role, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        return "see `tidemill doctor`"
