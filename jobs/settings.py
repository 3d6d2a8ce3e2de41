"""The environment, read once: what differs between a laptop, a server and a cloud."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Self

from pydantic import SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from jobs.errors import SettingError

ROOT = Path(__file__).resolve().parents[1]
HOME = Path(os.environ.get("TIDEMILL_HOME", ROOT / "var"))


Compute = Literal["local", "ecs", "ecs-large", "emr"]
Routing = Literal["local", "router", "weights"]
_NEEDS: dict[str, tuple[str, ...]] = {
    "ecs": ("ecs_cluster", "ecs_task", "ecs_subnets", "ecs_security_groups", "ecs_log_group"),
    "ecs-large": ("ecs_cluster", "ecs_task_large", "ecs_subnets", "ecs_security_groups", "ecs_log_group"),
    "emr": ("emr_application", "emr_role", "emr_entry_point"),
}
_ON_SPARK = ("etl",)
"""Stages that EMR can run: Spark does the work, and they need neither ledger nor MLflow."""
_ROUTING_NEEDS: dict[Routing, tuple[str, ...]] = {
    "local": (),
    "router": ("ecs_cluster", "namespace"),
    "weights": ("ecs_cluster", "namespace", "listener_rules"),
}
_RULE = {"rule", "blue", "green"}
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^/]+)*/?\Z")


class Settings(BaseSettings):
    """Where things are. `make up` writes the values of its services to `$TIDEMILL_HOME/settings.env`."""

    model_config = SettingsConfigDict(
        env_prefix="TIDEMILL_", env_file=HOME / "settings.env", extra="ignore", frozen=True
    )

    home: Path = HOME
    """All state of this installation; nothing is written elsewhere but sockets."""
    lake_uri: str = str(HOME / "lake")
    """A folder, or s3://BUCKET/PREFIX: see docs/storage-and-compute.md."""
    lake_kms_key: str | None = None
    """The KMS key that encrypts what is written to a lake on S3; without one the bucket's own default does."""
    postgres_url: SecretStr | None = None
    """A PostgreSQL of your own for everything, as postgresql://USER:PASSWORD@HOST:5432/; without it one is embedded."""
    database_url: SecretStr | None = None
    """The ledger's PostgreSQL, as postgresql://user:password@/tidemill?host=/socket/folder."""
    optuna_url: SecretStr | None = None
    databases: SecretStr | None = None
    """JSON for `tidemill databases`: the URL of a server's administrator, and that of each database to be made."""
    port_base: int = 8700
    """Loopback ports are this plus a small number each; see `jobs.services.ports`."""
    hosts: Literal["loopback", "named"] = "loopback"
    """Where the services are: all on this machine's loopback, or each on a host of its name, as in docker/compose.yaml."""
    namespace: str | None = None
    """The Cloud Map namespace in which every service has its name, as mlflow.NAMESPACE; without one it is the name alone."""
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
    """Empty where spark-submit says it, as on EMR."""
    spark_files: Literal["local", "s3", "s3a"] = "local"
    """How Spark reads a lake on S3: `local` by this machine's copy, `s3` on EMR, `s3a` where its jars are."""
    warehouse: Literal["duckdb", "spark"] = "duckdb"
    """Where the dbt models run; both give the same rows."""
    training_max_rows_local: int = 20_000_000
    """A frame of more rows is tuned and judged on a sample of so many, and learned from whole, by XGBoost on Spark."""
    training_workers: int = 2
    """How many of Spark's tasks XGBoost trains with then."""
    online_store_url: str = f"sqlite:///{HOME / 'online'}"
    """sqlite:///FOLDER (a file a project), redis://HOST:PORT/DB or dynamodb://TABLE?region=…; see docs/operations.md."""
    compute: dict[str, Compute] = {}
    """Where Airflow runs a stage, as {"etl": "emr", "train": "ecs-large", "*": "ecs"}; what is not named runs locally."""
    ecs_cluster: str | None = None
    ecs_task: str | None = None
    """The task definition that runs a stage; its container `jobs` holds the settings and secrets.

    Here, in the log group and in EMR's role, `{project}` stands for the project's name.
    """
    ecs_task_large: str | None = None
    """The same with more memory, for `ecs-large`."""
    ecs_subnets: str | None = None
    """Subnets, with commas between."""
    ecs_security_groups: str | None = None
    ecs_capacity_provider: str = "FARGATE"
    """FARGATE_SPOT costs less, and AWS may stop a task at any time: the attempt is then repeated."""
    ecs_log_group: str | None = None
    """Where the task definition's awslogs driver writes, with the stream prefix `tidemill`."""
    emr_application: str | None = None
    """The EMR Serverless application's id."""
    emr_role: str | None = None
    """What a job may do, as arn:aws:iam::…:role/…."""
    emr_entry_point: str | None = None
    """Where jobs/emr.py is for EMR: s3://…, or local:///… in an image of your own."""
    emr_spark_parameters: str = ""
    """More of spark-submit's options, such as --archives s3://…/environment.tar.gz#environment."""
    routing: Routing = "local"
    """Where slots run and share traffic: on this machine behind its router, or on ECS behind routers that read their
    routes from the lake (`router`), or behind a load balancer's weights (`weights`)."""
    listener_rules: dict[str, dict[str, str]] = {}
    """For `weights`, ARNs by project: {"fraud": {"rule": "…", "blue": "…", "green": "…"}}, a rule and its target groups."""
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

    @model_validator(mode="after")
    def _agree(self) -> Self:
        faults = list(_faults(self))
        if faults:
            raise ValueError("\n- ".join(faults))
        return self

    @classmethod
    def load(cls) -> Self:
        """The settings of this process; raises SettingError naming every one that does not parse."""
        try:
            return cls()
        except ValidationError as error:
            faults = [
                f"- TIDEMILL_{'_'.join(map(str, fault['loc'])).upper()}: {fault['msg']}"
                if fault["loc"]
                else f"- {fault['msg'].removeprefix('Value error, ')}"
                for fault in error.errors()
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


def region() -> str | None:
    """The AWS region of this process: boto3 itself reads only the second name, containers have the first."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")


def _faults(settings: Settings) -> Iterator[str]:
    """What each setting means only together with others, and those that are missing for it, each with where it is from."""
    lake = settings.lake_uri
    if "://" in lake and not _BUCKET.match(lake):
        yield f"TIDEMILL_LAKE_URI: {lake!r} must be a folder or s3://BUCKET/PREFIX"
    if settings.spark_files != "local" and not lake.startswith("s3://"):
        yield f"TIDEMILL_SPARK_FILES: {settings.spark_files!r} is for a lake on S3; TIDEMILL_LAKE_URI is {lake!r}"
    used = {where for where in settings.compute.values() if where != "local"}
    if used and not lake.startswith("s3://"):
        yield f"TIDEMILL_LAKE_URI: stages on {', '.join(sorted(used))} cannot see {lake!r}; it must be s3://BUCKET/PREFIX"
    for stage, where in settings.compute.items():
        if where == "emr" and stage not in _ON_SPARK:
            yield f"TIDEMILL_COMPUTE: {stage!r} cannot run on emr, only {', '.join(_ON_SPARK)} can; take ecs-large"
    yield from _routing_faults(settings)
    needed = dict.fromkeys(name for where in sorted(used) for name in _NEEDS[where])
    for name in needed:
        if not getattr(settings, name):
            by = ", ".join(where for where in sorted(used) if name in _NEEDS[where])
            yield f"TIDEMILL_{name.upper()}: is not set, and TIDEMILL_COMPUTE has stages on {by}; Terraform's output has it"


def _routing_faults(settings: Settings) -> Iterator[str]:
    if settings.routing == "local":
        return
    by, lake = f"TIDEMILL_ROUTING is {settings.routing}", settings.lake_uri
    if not lake.startswith("s3://"):
        yield f"TIDEMILL_LAKE_URI: {by}, and no slot or router can see {lake!r}; it must be s3://BUCKET/PREFIX"
    if settings.hosts != "named":
        yield f"TIDEMILL_HOSTS: {by}, and slots have hosts of their own; it must be named"
    for name in _ROUTING_NEEDS[settings.routing]:
        if not getattr(settings, name):
            yield f"TIDEMILL_{name.upper()}: is not set, and {by}; Terraform's output has it"
    for project, arns in settings.listener_rules.items():
        if set(arns) != _RULE:
            yield f"TIDEMILL_LISTENER_RULES: {project!r} must have the ARNs {', '.join(sorted(_RULE))} and no other"
