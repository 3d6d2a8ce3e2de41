"""`tidemill databases`, on a real PostgreSQL, by an administrator who is no superuser, as on RDS."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from pydantic import SecretStr

from jobs.errors import ServiceError, SettingError
from jobs.services.credentials import DATABASES
from jobs.services.databases import make_on_server
from jobs.settings import Settings


def url_of(server: str, user: str, database: str) -> str:
    found = urlsplit(server)
    return f"postgresql://{user}:pass-{user}@/{database}?{found.query}"


def given(settings: Settings, value: Any) -> Settings:
    text = value if isinstance(value, str) else json.dumps(value)
    return settings.model_copy(update={"databases": SecretStr(text)})


def test_each_client_gets_a_database_that_it_owns_and_a_second_run_makes_nothing(
    postgres: str, settings: Settings
) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE ROLE administrator LOGIN CREATEDB CREATEROLE PASSWORD 'pass-administrator'")
    urls = {name: url_of(postgres, name, name) for name in DATABASES}
    asked = given(settings, {"administrator": url_of(postgres, "administrator", "postgres"), **urls})
    assert make_on_server(asked).facts == {"made": list(DATABASES)}
    for url in urls.values():
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept (id int)")
    assert make_on_server(asked).line == "databases made: none, all were there"
    renewed = {name: url.replace("pass-", "anew-") for name, url in urls.items()}
    make_on_server(given(settings, {"administrator": url_of(postgres, "administrator", "postgres"), **renewed}))
    with psycopg.connect(renewed["tidemill"]) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


@pytest.mark.parametrize("value", ["no JSON", "[]", '{"tidemill": "postgresql://a:b@h/t"}'])
def test_a_setting_that_is_no_list_of_urls_is_refused(value: str, settings: Settings) -> None:
    with pytest.raises(SettingError, match=r"TIDEMILL_DATABASES must be JSON.*nothing was made"):
        make_on_server(given(settings, value))


def test_every_database_that_is_missing_is_named(settings: Settings) -> None:
    urls = {"administrator": "postgresql://a:b@h/postgres", "airflow": "postgresql://airflow:x@h/airflow"}
    with pytest.raises(SettingError, match="mlflow, mlflow_auth, optuna, tidemill"):
        make_on_server(given(settings, urls))


def test_a_server_that_does_not_answer_is_a_service_error(settings: Settings) -> None:
    urls = {name: f"postgresql://{name}:x@/{name}?host=/nowhere" for name in ("administrator", *DATABASES)}
    with pytest.raises(ServiceError, match="run `tidemill databases` again"):
        make_on_server(given(settings, urls))
