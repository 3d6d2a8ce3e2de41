"""A PostgreSQL of the user's own: no embedded one is started, and what it lacks is said."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from pydantic import SecretStr

from jobs.errors import SettingError
from jobs.release.ledger import Ledger
from jobs.services import credentials, databases
from jobs.services.programs import programs
from jobs.settings import Settings


@pytest.fixture
def own(postgres: str, settings: Settings) -> Iterator[Settings]:
    yield settings.model_copy(update={"postgres_url": SecretStr(postgres)})
    with psycopg.connect(postgres, autocommit=True) as connection:
        for name in credentials.DATABASES:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute("DROP ROLE IF EXISTS reader")


def test_all_databases_are_made_there_and_every_url_reaches_its_own(own: Settings) -> None:
    databases.make_own(own)
    databases.make_own(own)
    for name in credentials.DATABASES:
        with psycopg.connect(credentials.database_url(own, name)) as connection:
            assert connection.execute("SELECT current_database()").fetchone() == (name,)
            patience = connection.execute("SHOW idle_in_transaction_session_timeout").fetchone()
            assert patience == ("1min" if name == "airflow" else "0",)
    values = credentials.values(own)
    with Ledger(values["TIDEMILL_DATABASE_URL"]) as ledger:
        assert ledger.champion("fraud") is None
    assert values["TIDEMILL_OPTUNA_URL"].startswith("postgresql+psycopg2://")
    assert values["TIDEMILL_POSTGRES_URL"] == own.need("postgres_url")


def test_the_embedded_one_is_not_among_the_services_and_the_others_are(own: Settings, settings: Settings) -> None:
    names, all_names = ([program.name for program in programs(one)] for one in (own, settings))
    assert [name for name in all_names if name not in names] == ["postgres"]


def test_databases_that_may_not_be_made_are_named_at_once(own: Settings) -> None:
    with psycopg.connect(own.need("postgres_url"), autocommit=True) as connection:
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'reader'")
    parts = urlsplit(own.need("postgres_url"))
    reader = own.model_copy(update={"postgres_url": SecretStr(parts._replace(netloc="reader:reader@").geturl())})
    with pytest.raises(SettingError, match="airflow, mlflow, mlflow_auth, optuna, tidemill, and user 'reader' may not"):
        databases.make_own(reader)


def test_one_that_cannot_be_reached_is_told_without_its_password(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"postgres_url": SecretStr("postgresql://me:secret@127.0.0.1:1/postgres")})
    with pytest.raises(
        SettingError, match=r"PostgreSQL at 127\.0\.0\.1:1, which TIDEMILL_POSTGRES_URL names"
    ) as raised:
        databases.make_own(nowhere)
    assert "secret" not in str(raised.value)
