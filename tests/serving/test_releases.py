"""What a slot serves when what it is told to serve is wrong, and what is logged when it is stopped or killed."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from jobs.errors import ServiceError
from jobs.release.bundle import Bundle
from jobs.services import places, supervisor
from jobs.services.programs import Program
from jobs.settings import ROOT
from tests.serving.conftest import AS_OF, Stack, payment, until

pytestmark = pytest.mark.services


def copied(bundle: Bundle, folder: Path, change: Any = None, *, sign: bool = False) -> Bundle:
    """The bundle with one model file changed; `sign` makes its manifest agree with that."""
    shutil.copytree(bundle.folder, folder)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    name = manifest["models"][0]["file"]
    (folder / name).write_bytes(change((folder / name).read_bytes()))
    digest = bundle.digest
    if sign:
        manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        text = json.dumps(manifest).encode()
        (folder / "manifest.json").write_bytes(text)
        digest = hashlib.sha256(text).hexdigest()
    return Bundle(release=bundle.release, digest=digest, folder=folder, manifest=manifest)


@pytest.mark.fault("F46")
@pytest.mark.fault("F47")
def test_a_slot_keeps_the_last_verified_release(stack: Stack, bundles: dict[str, Bundle], tmp_path: Path) -> None:
    """Nothing here reaches MLflow or the ledger: both are set to addresses where nobody answers."""
    good, other = bundles["lightgbm"], bundles["xgboost"]
    stack.start("blue", None)
    none = stack.client().post("/fraud/predict", json=payment())
    assert (none.status_code, none.json()["error"], none.headers["retry-after"]) == (503, "no release", "5")
    stack.stop("blue")

    own = copied(good, tmp_path / "own", lambda model: model)
    stack.assign("blue", own, epoch=3)
    stack.start("blue", good.release)
    before = stack.client().post("/fraud/predict", json=payment()).json()["probability"]
    stack.stop("blue")

    wrong = {
        "bytes differ": (copied(other, tmp_path / "tampered", lambda model: model + b" "), 4),
        "does not load": (copied(other, tmp_path / "cut", lambda model: model[: len(model) // 2], sign=True), 4),
        "epoch": (other, 2),
    }
    for why, (bundle, epoch) in wrong.items():
        stack.assign("blue", bundle, epoch=epoch)
        with pytest.raises(ServiceError, match="refused") as refused:
            stack.start("blue", bundle.release)
        assert why in str(refused.value)
        answer = stack.client().post("/fraud/predict", json=payment()).json()
        assert (answer["release"], answer["probability"]) == (good.release, before)
        stack.stop("blue")

    shutil.rmtree(own.folder)
    stack.assign("blue", own, epoch=4)
    stack.start("blue", good.release)  # from the slot's own verified copy


def test_without_the_online_store_answers_are_marked_degraded(stack: Stack, bundles: dict[str, Bundle]) -> None:
    stack.assign("blue", bundles["xgboost"])
    stack.start("blue", bundles["xgboost"].release)
    client = stack.client()
    folder = Path(stack.settings.online_store_url.removeprefix("sqlite:///"))
    normal = client.post("/fraud/predict", json=payment()).json()
    assert normal["degraded"] is False

    gone = folder.rename(folder.with_name("gone"))
    answer = client.post("/fraud/predict", json=payment()).json()
    assert (answer["degraded"], answer["degraded_by"], answer["unknown"]) == (True, ["last_known_features"], [])
    assert answer["probability"] == normal["probability"], "the same payment, from windows that it is already in"
    stranger = client.post("/fraud/predict", json=payment(customer_id="nobody", terminal_id="nowhere")).json()
    assert (stranger["degraded"], stranger["degraded_by"]) == (True, ["default_features"])
    assert stranger["unknown"] == ["customer_profile", "customer", "terminal"]

    lock = sqlite3.connect(gone / "fraud.sqlite", isolation_level=None)
    lock.execute("pragma journal_mode = delete")
    lock.execute("begin exclusive")
    gone.rename(folder)
    time.sleep(1.1)  # the circuit breaker's rest
    began = time.monotonic()
    assert client.post("/fraud/predict", json=payment()).json()["degraded"] is True
    assert time.monotonic() - began < 1
    lock.execute("rollback")

    def as_before() -> bool:
        again = client.post("/fraud/predict", json=payment()).json()
        return {**again, "request_id": ""} == {**normal, "request_id": ""}

    until(as_before)


def test_a_slot_is_restarted_by_the_supervisor(stack: Stack, bundles: dict[str, Bundle]) -> None:
    program = Program(
        name="serve-fraud-blue",
        command=[str(places.environment_python("serve")), "-m", "bentos", "fraud", "blue"],
        environment=stack.environment(),
        folder=ROOT,
    )
    supervisor.start(stack.settings, [program])
    try:
        stack.slots.restart("fraud", "blue")
        first = stack.slots.wait_ready("fraud", "blue", None, 60)
        stack.assign("blue", bundles["xgboost"])
        stack.slots.restart("fraud", "blue")
        second = stack.slots.wait_ready("fraud", "blue", bundles["xgboost"].release, 60)
        assert second["process"] != first["process"]
        stack.slots.clear("fraud", "blue")
        stack.slots.restart("fraud", "blue")
        assert stack.slots.wait_ready("fraud", "blue", None, 60)["refused"] is None
        with pytest.raises(ServiceError, match="serve-fraud-green"):
            stack.slots.restart("fraud", "green")
    finally:
        supervisor.rpc(stack.settings).shutdown()
        until(lambda: not places.supervisor_socket(stack.settings).exists())
    with pytest.raises(ServiceError, match="serve-fraud-blue"):
        stack.slots.restart("fraud", "blue")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_log_is_complete_when_the_slot_ends_under_load(
    stack: Stack, bundles: dict[str, Bundle], how: signal.Signals
) -> None:
    stack.assign("blue", bundles["lightgbm"])
    stack.start("blue", bundles["lightgbm"].release)
    answered: list[tuple[str, float]] = []

    def ask(worker: int) -> None:
        with stack.client() as client:
            for number in range(10_000):
                try:
                    answer = client.post("/fraud/predict", json=payment(worker * 10_000 + number)).json()
                except httpx.HTTPError:
                    return
                answered.append((answer["request_id"], time.monotonic()))

    workers = [threading.Thread(target=ask, args=(worker,)) for worker in range(4)]
    for worker in workers:
        worker.start()
    until(lambda: len(answered) > 300)
    time.sleep(0.6)
    killed = time.monotonic()
    stack.stop("blue", how)
    for worker in workers:
        worker.join()
    if how == signal.SIGKILL:  # what it left behind lands at its next start; the last instant may be missing
        stack.start("blue", bundles["lightgbm"].release)
        due = {name for name, at in answered if at < killed - 0.5}
    else:
        due = {name for name, _ in answered}
    folder = stack.lake.landing("fraud", "predictions", AS_OF.date())
    lines = [
        json.loads(line)["request_id"] for path in folder.glob("*.jsonl") for line in path.read_text().splitlines()
    ]
    assert len(lines) == len(set(lines))
    assert due <= set(lines)
    assert len(due) > 100
    assert not list((stack.settings.home / "serving" / "fraud" / "log").glob("*.jsonl"))
