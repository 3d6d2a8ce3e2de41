"""What AWS would be to a rollout: moto's APIs, real routers that follow its S3, and processes started where ECS would."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx

from jobs.lake import Lake
from jobs.rollout.slots import read_assignment
from jobs.services import places
from jobs.services.ports import SLOTS, port
from jobs.services.programs import program
from jobs.settings import ROOT, Settings
from tests import buckets
from tests.ports import free_port_base
from tests.proxies import Answer, Asked, between

KEY = "key-of-a-rollout-on-aws"
PROJECT = "fraud"
ROUTERS = ("127.0.0.2", "127.0.0.3", "127.0.0.4")


@dataclass
class Slot:
    """A tiny slot: it reads from the lake what to serve when it starts, answers, and counts its answers."""

    settings: Settings
    name: str
    at: str = "127.0.0.1"
    failing: bool = False
    statuses: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        told = read_assignment(Lake(self.settings.lake_uri).assignment(PROJECT, self.name))
        self._state = {
            "ready": told is not None, "release": told and told.release, "digest": told and told.digest, "process": 7,
            "parity": {"rows": 1_000, "furthest": 0.0},
        }  # fmt: skip
        slot = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path == "/readyz":
                    self._say(200 if slot._state["ready"] else 503, json.dumps(slot._state))
                else:
                    self._say(200, slot.metrics())

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status = 500 if slot.failing else 200
                slot.statuses[str(status)] = slot.statuses.get(str(status), 0) + 1
                self._say(status, json.dumps({"slot": slot.name}))

            def _say(self, status: int, text: str) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((self.at, port(self.settings, f"serve-{PROJECT}-{self.name}")), Handler)
        Thread(target=self._server.serve_forever, daemon=True).start()

    def metrics(self) -> str:
        lines = ["tidemill_resident_bytes 5e+07"]
        for status, count in list(self.statuses.items()):
            for route in ("predict", "shadow"):
                labels = f'route="{route}",status="{status}"'
                lines.append(f"tidemill_request_seconds_count{{{labels}}} {count}")
                lines.append(f'tidemill_request_seconds_bucket{{le="0.005",{labels}}} {count}')
        answered = self.statuses.get("200", 0)
        lines.append(f'tidemill_scores_total{{route="predict",up_to="0.5"}} {answered}')
        return "\n".join(lines) + "\n"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Cloud:
    """One installation on moto: a cluster, a namespace, a lake, and what runs where."""

    settings: Settings
    home: Path
    address: str
    known: Mapping[str, str]
    """The id of each service in Cloud Map."""
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    slots: dict[str, Slot] = field(default_factory=dict)
    deployed: Callable[[str, int], None] | None = None
    """What starts and stops a slot's tasks; by default tiny slots."""
    reason: str = ""
    """Why every deployment fails, if it does."""

    def register(self, service: str, at: str) -> None:
        buckets.client("servicediscovery").register_instance(
            ServiceId=self.known[service], InstanceId=at, Attributes={"AWS_INSTANCE_IPV4": at}
        )

    def deregister(self, service: str, at: str) -> None:
        buckets.client("servicediscovery").deregister_instance(ServiceId=self.known[service], InstanceId=at)

    def environment(self, home: Path) -> dict[str, str]:
        values = self.settings
        return {
            **{name: value for name, value in os.environ.items() if name.startswith("AWS_")},
            "PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT), "TIDEMILL_HOME": str(home),
            "TIDEMILL_LAKE_URI": values.lake_uri, "TIDEMILL_PORT_BASE": str(values.port_base),
            "TIDEMILL_HOSTS": "named", "TIDEMILL_NAMESPACE": str(values.namespace), "TIDEMILL_API_KEY": KEY,
            "TIDEMILL_ROUTING": values.routing, "TIDEMILL_ECS_CLUSTER": str(values.ecs_cluster),
            "TIDEMILL_LISTENER_RULES": json.dumps(values.listener_rules),
            "TIDEMILL_ONLINE_STORE_URL": values.online_store_url, "TIDEMILL_MLFLOW_URL": "http://127.0.0.1:1",
            "TIDEMILL_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        }  # fmt: skip

    def start_router(self, at: str) -> None:
        """A router as its container starts it, on an address of its own."""
        home = self.home / at
        own = self.settings.model_copy(update={"home": home})
        wanted = program(own, "router")
        static = home / "router" / "envoy.json"
        static.write_text(static.read_text().replace('"0.0.0.0"', f'"{at}"'))
        self.start(at, wanted.command, home)
        until(lambda: httpx.get(f"{self.admin(at)}/ready").status_code == 200)
        self.register("router", at)

    def admin(self, at: str) -> str:
        return f"http://{at}:{port(self.settings, 'router-admin')}"

    def start(self, name: str, command: list[str], home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        log = (self.home / f"{name}.log").open("ab")
        self.running[name] = subprocess.Popen(
            command, env=self.environment(home), cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        )

    def stop(self, name: str) -> int:
        process = self.running.pop(name)
        process.terminate()
        code = process.wait(30)
        shutil.rmtree(
            places.sockets_path(self.settings.model_copy(update={"home": self.home / name})), ignore_errors=True
        )
        return code

    def deploy(self, slot: str, count: int) -> None:
        """What ECS would do: the slot's tasks anew, known to Cloud Map while they run."""
        if self.deployed:
            self.deployed(slot, count)
            return
        if slot in self.slots:
            self.slots.pop(slot).stop()
            self.deregister(f"serve-{PROJECT}-{slot}", "127.0.0.1")
        if count:
            self.slots[slot] = Slot(self.settings, slot)
            self.register(f"serve-{PROJECT}-{slot}", "127.0.0.1")

    def change(self, asked: Asked, forward: Callable[[], Answer]) -> Answer:
        """AWS's answers, with a deployment that really happens."""
        answer = forward()
        if asked.operation == "UpdateService" and answer.status == 200 and not self.reason:
            self.deploy(asked.body["service"].rpartition("-")[2], asked.body["desiredCount"])
        if asked.operation == "DescribeServices" and answer.status == 200:
            found = answer.json
            for one in found["services"]:
                for deployment in one["deployments"]:
                    failed = {"rolloutState": "FAILED", "rolloutStateReason": self.reason}
                    deployment.update(failed if self.reason else {"rolloutState": "COMPLETED"})
            answer.body = json.dumps(found).encode()
        return answer

    @contextmanager
    def aws(self) -> Iterator[list[Asked]]:
        """AWS, whose ECS starts slots; the requests it was sent."""
        with between(self.address, self.change) as asked:
            yield asked


@contextmanager
def cloud(address: str, home: Path, routing: str = "router", **more: Any) -> Iterator[Cloud]:
    """An installation in which nothing runs yet; what it started is stopped at the end."""
    name = f"t{uuid.uuid4().hex[:8]}"
    namespace = f"{name}.localhost"  # every resolver, Envoy's too, has such names on this machine
    settings = Settings(
        _env_file=None, home=home / "controller", lake_uri=f"s3://{buckets.new_bucket()}", hosts="named",
        online_store_url=f"sqlite:///{home / 'online'}", port_base=free_port_base(), namespace=namespace,
        routing=routing, ecs_cluster=name, api_key=KEY, mlflow_url="http://127.0.0.1:1", **more,
    )  # type: ignore[call-arg, arg-type]  # fmt: skip
    found, ecs = buckets.client("servicediscovery"), buckets.client("ecs")
    found.create_private_dns_namespace(Name=namespace, Vpc=f"vpc-{name}")
    (space,) = [one["Id"] for one in found.list_namespaces()["Namespaces"] if one["Name"] == namespace]
    ecs.create_cluster(clusterName=name)
    container = {"name": "slot", "image": "tidemill/serve:1", "memory": 512}
    ecs.register_task_definition(family="slot", containerDefinitions=[container])
    known = {}
    for service in ("router", *(f"serve-{PROJECT}-{slot}" for slot in SLOTS)):
        records = {"DnsRecords": [{"Type": "A", "TTL": 10}], "RoutingPolicy": "MULTIVALUE"}
        known[service] = found.create_service(Name=service, NamespaceId=space, DnsConfig=records)["Service"]["Id"]
        ecs.create_service(cluster=name, serviceName=service, taskDefinition="slot", desiredCount=0)
    made = Cloud(settings=settings, home=home, address=address, known=known)
    try:
        yield made
    finally:
        for name in list(made.running):
            made.stop(name)
        for slot in made.slots.values():
            slot.stop()


def until(condition: Callable[[], Any], seconds: float = 30) -> None:
    """Returns when the condition holds; fails at the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except httpx.HTTPError:
            pass
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def refusing(code: str, status: int, *operations: str) -> Callable[[Asked, Callable[[], Answer]], Answer]:
    """AWS, which answers these operations so."""

    def change(asked: Asked, forward: Callable[[], Answer]) -> Answer:
        if asked.operation not in operations:
            return forward()
        headers: Mapping[str, str] = {"Content-Type": "application/x-amz-json-1.1"}
        return Answer(status, json.dumps({"__type": code, "message": "no"}).encode(), dict(headers))

    return change
