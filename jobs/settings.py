"""The environment, read once: what differs between a laptop, a server and a cloud."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, Self

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from jobs.errors import SettingError

ROOT = Path(__file__).resolve().parents[1]
HOME = Path(os.environ.get("TIDEMILL_HOME", ROOT / "var"))


class Settings(BaseSettings):
    """Where things are. `make up` writes the values of its services to `$TIDEMILL_HOME/settings.env`."""

    model_config = SettingsConfigDict(
        env_prefix="TIDEMILL_", env_file=HOME / "settings.env", extra="ignore", frozen=True
    )

    home: Path = HOME
    """All state of this installation; nothing is written elsewhere but sockets."""
    lake_uri: str = str(HOME / "lake")
    database_url: SecretStr | None = None
    """The ledger's PostgreSQL, as postgresql://user:password@/tidemill?host=/socket/folder."""
    optuna_url: SecretStr | None = None
    port_base: int = 8700
    """Loopback ports are this plus a small number each; see `jobs.services.ports`."""
    hosts: Literal["loopback", "named"] = "loopback"
    """Where the services are: all on this machine's loopback, or each on a host of its name, as in docker/compose.yaml."""
    service: str | None = None
    """Which service a container runs and is asked the health of, such as mlflow or serve-blue."""
    sockets: Path | None = None
    """The folder of the Unix sockets, whose path must be short; by default one of this home's own below /tmp."""
    mlflow_url: str = "http://127.0.0.1:8703"
    mlflow_username: str = "admin"
    mlflow_password: SecretStr | None = None
    spark_remote: str | None = None
    """A Spark Connect server, as sc://127.0.0.1:8704/;token=…; without one a local session is started."""
    spark_master: str = "local[2]"
    warehouse: Literal["duckdb", "spark"] = "duckdb"
    """Where the dbt models run; both give the same rows."""
    training_max_rows_local: int = 20_000_000
    """A frame of more rows is tuned and judged on a sample of so many, and learned from whole, by XGBoost on Spark."""
    training_workers: int = 2
    """How many of Spark's tasks XGBoost trains with then."""
    online_store_url: str = f"sqlite:///{HOME / 'online'}"
    """sqlite:///FOLDER (a file a project), redis://HOST:PORT/DB or dynamodb://TABLE?region=…; see docs/operations.md."""
    serving_url: str = "http://127.0.0.1:8700"
    """The router, as clients reach it."""
    router_admin_url: str = "http://127.0.0.1:8701"
    supervisor_socket: Path | None = None
    slot: Literal["blue", "green"] = "blue"
    """Which of a project's two serving slots a serving process is."""
    api_key: SecretStr | None = None
    """The bearer key that clients of the prediction endpoint present."""
    airflow_url: str = "http://127.0.0.1:8702"
    airflow_username: str = "admin"
    airflow_password: SecretStr | None = None

    @classmethod
    def load(cls) -> Self:
        """The settings of this process; raises SettingError naming every one that does not parse."""
        try:
            return cls()
        except ValidationError as error:
            faults = [
                f"- TIDEMILL_{'_'.join(map(str, fault['loc'])).upper()}: {fault['msg']}" for fault in error.errors()
            ]
            raise SettingError(
                "\n".join(["these settings are wrong (environment or settings.env):", *faults])
            ) from None

    def need(self, name: str) -> str:
        """The value of a setting that a service provides; raises SettingError when it is not set."""
        value = getattr(self, name)
        if value is None:
            raise SettingError(
                f"TIDEMILL_{name.upper()} is not set; start the services with `make up`, or set it to your own"
            )
        return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
