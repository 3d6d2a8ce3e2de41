"""The three kinds of online store, each with a server of its own where it needs one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.features.stores import RedisServer, dynamodb_server, redis_server

_tables = count()


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def dynamodb() -> Iterator[str]:
    """The address of a DynamoDB that knows everybody."""
    with pytest.MonkeyPatch.context() as patch, dynamodb_server() as address:
        patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        yield address


@pytest.fixture(params=["sqlite", "redis", "dynamodb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty online store, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'online'}"
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis")
        server.client().flushall()
        return server.url
    address = request.getfixturevalue("dynamodb")
    return f"dynamodb://online-{next(_tables)}?region=eu-central-1&endpoint={address}"
