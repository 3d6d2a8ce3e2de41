"""Passwords and keys of the services: generated once, kept in files that only their owner may read."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from jobs.services import places
from jobs.services.ports import host, port, url
from jobs.settings import Settings

DATABASES = ("airflow", "mlflow", "mlflow_auth", "optuna", "tidemill")
"""Each belongs to a role of its own name."""


def _key() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """Every secret of one installation."""

    postgres: str = field(default_factory=_key)
    """The database superuser's; each role's password is in `databases`."""
    databases: dict[str, str] = field(default_factory=lambda: {name: _key() for name in DATABASES})
    airflow: str = field(default_factory=_key)
    airflow_jwt: str = field(default_factory=lambda: secrets.token_urlsafe(64))
    airflow_session: str = field(default_factory=_key)
    airflow_fernet: str = field(default_factory=lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
    mlflow: str = field(default_factory=_key)
    mlflow_session: str = field(default_factory=_key)
    spark: str = field(default_factory=_key)
    api_key: str = field(default_factory=_key)
    redis: str = field(default_factory=_key)
    s3_access_key: str = field(default_factory=lambda: secrets.token_hex(10))
    s3_secret_key: str = field(default_factory=_key)


def path(settings: Settings) -> Path:
    """The file that keeps them."""
    return places.home(settings) / "credentials.json"


def ensure(settings: Settings) -> Credentials:
    """The credentials of this installation; those that there are none of yet are generated."""
    file = path(settings)
    kept = json.loads(file.read_text()) if file.exists() else {}
    made = Credentials(**kept)
    if asdict(made) == kept:
        return made
    places.write_private(file, json.dumps(asdict(made), indent=1) + "\n")
    return made


def database_url(settings: Settings, name: str, driver: str = "postgresql") -> str:
    """The URL of one of the databases: on the PostgreSQL that the settings name, else on ours."""
    if settings.postgres_url:
        own = urlsplit(settings.postgres_url.get_secret_value())
        return own._replace(scheme=driver, path=f"/{name}").geturl()
    return server_url(settings, name, ensure(settings).databases[name], name, driver)


def server_url(settings: Settings, role: str, password: str, name: str, driver: str = "postgresql") -> str:
    """The URL of a database as any role of our server: over the embedded one's socket, or at the host named postgres."""
    if settings.hosts == "named":
        return f"{driver}://{role}:{password}@{host(settings, 'postgres')}/{name}"
    return f"{driver}://{role}:{password}@/{name}?host={places.sockets_path(settings) / 'pg'}"


def values(settings: Settings) -> dict[str, str]:
    """What `settings.env` says: how every command reaches the services of this installation."""
    known = ensure(settings)
    found = _chosen(settings) | {
        "TIDEMILL_PORT_BASE": str(settings.port_base),
        "TIDEMILL_DATABASE_URL": database_url(settings, "tidemill"),
        "TIDEMILL_OPTUNA_URL": database_url(settings, "optuna", "postgresql+psycopg2"),
        "TIDEMILL_MLFLOW_URL": url(settings, "mlflow"),
        "TIDEMILL_MLFLOW_USERNAME": "admin",
        "TIDEMILL_MLFLOW_PASSWORD": known.mlflow,
        "TIDEMILL_SPARK_REMOTE": _spark_remote(settings, known.spark),
        "TIDEMILL_SERVING_URL": url(settings, "router"),
        "TIDEMILL_ROUTER_ADMIN_URL": url(settings, "router-admin"),
        "TIDEMILL_SUPERVISOR_SOCKET": str(places.supervisor_socket(settings)),
        "TIDEMILL_API_KEY": known.api_key,
        "TIDEMILL_AIRFLOW_URL": url(settings, "airflow"),
        "TIDEMILL_AIRFLOW_USERNAME": "admin",
        "TIDEMILL_AIRFLOW_PASSWORD": known.airflow,
    }
    if settings.hosts == "named":
        found["TIDEMILL_ONLINE_STORE_URL"] = f"redis://:{known.redis}@{host(settings, 'redis')}:6379/0"
    return found


def _spark_remote(settings: Settings, token: str) -> str:
    """Spark's client asks for TLS when there is a token, except of the host named localhost.

    Elsewhere the token travels as the header that it stands for, and only where no other host listens.
    """
    number = port(settings, "spark-connect")
    if settings.hosts == "named":
        return f"sc://{host(settings, 'spark-connect')}:{number}/;authorization=Bearer%20{token}"
    return f"sc://localhost:{number}/;token={token}"


def _chosen(settings: Settings) -> dict[str, str]:
    """What differs from how this machine does it by itself, so that every later command does it so as well."""
    named = {"TIDEMILL_LAKE_URI": settings.lake_uri, "TIDEMILL_ONLINE_STORE_URL": settings.online_store_url}
    chosen = {name: value for name, value in named.items() if "://" in value and not value.startswith("sqlite:")}
    if settings.postgres_url:
        chosen["TIDEMILL_POSTGRES_URL"] = settings.postgres_url.get_secret_value()
    return chosen


def write_settings(settings: Settings) -> Path:
    """Writes `settings.env`, and returns its path."""
    file = places.home(settings) / "settings.env"
    lines = ["# Written by `tidemill up`; a variable in the environment outranks its line here."]
    lines += [f'{name}="{value}"' for name, value in values(settings).items()]
    places.write_private(file, "\n".join(lines) + "\n")
    return file
