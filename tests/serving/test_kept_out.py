"""What does not belong is kept out: over HTTP, against slots declared to be strict, and whatever schemathesis thinks of."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from jobs.release.bundle import Bundle
from tests.serving.conftest import KEY, Stack, make_stack, payment, until

pytestmark = pytest.mark.services
STRICT = {"requests_per_second": 20, "rows_per_day": 400, "scan_values": 20, "round_scores": 3}


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, bundles: dict[str, Bundle]) -> Iterator[Stack]:
    """A slot with low limits and rounded scores, and a key for each test."""
    stack = make_stack(tmp_path_factory.mktemp("strict"))
    names = ("rounding", "fast", "greedy", "thief")
    path = stack.settings.home / "serving" / "keys.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({name: sha256(name.encode()).hexdigest() for name in names}))
    stack.assign("blue", bundles["lightgbm"])
    stack.start_otherwise("blue", bundles["lightgbm"].release, **STRICT)
    yield stack
    stack.stop_all()


def client_of(stack: Stack, key: str) -> httpx.Client:
    client = stack.client()
    client.headers["Authorization"] = f"Bearer {key}"
    return client


def labelled(stack: Stack, line: str) -> str:
    with stack.client() as client:
        return next(
            (found.split()[-1] for found in client.get("/metrics").text.splitlines() if found.startswith(line)), ""
        )


def test_scores_are_rounded_for_clients_and_whole_in_the_log(strict: Stack) -> None:
    with client_of(strict, "rounding") as client:
        answers = [client.post("/fraud/predict", json=payment(number)).json() for number in range(10)]
        explained = client.post("/fraud/explain", json=payment(3)).json()
    assert all(round(one["probability"], 3) == one["probability"] for one in answers)
    assert explained["probability"] == answers[3]["probability"]
    numbers = [explained["base"], explained["margin"], *explained["contributions"].values()]
    assert all(round(number, 3) == number for number in numbers)
    until(lambda: {f"t{number}" for number in range(10)} <= strict.logged("t").keys())
    whole = [strict.logged("t")[f"t{number}"]["score"] for number in range(10)]
    assert [round(score, 3) for score in whole] == [one["probability"] for one in answers]
    assert [round(score, 3) for score in whole] != whole


def test_a_key_that_asks_too_fast_is_told_when_to_come_back(strict: Stack) -> None:
    with client_of(strict, "fast") as client:
        answers = [client.post("/fraud/predict", content=b"{") for _ in range(120)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert {answer.status_code for answer in answers} == {400, 429}
        assert {answer.headers["retry-after"] for answer in refused} == {"1"}
        time.sleep(1)
        assert client.post("/fraud/predict", content=b"{").status_code == 400
    assert float(labelled(strict, 'tidemill_limited_total{key="fast",limit="requests"}')) == len(refused)
    with strict.client() as another:
        assert another.post("/fraud/predict", content=b"{").status_code == 400


def test_a_keys_rows_of_the_day_end_and_a_restart_gives_none_back(strict: Stack, bundles: dict[str, Bundle]) -> None:
    def ask(rows: int) -> httpx.Response:
        with client_of(strict, "greedy") as client:
            return client.post("/fraud/predict", json={"rows": [payment(number) for number in range(rows)]})

    assert [ask(rows).status_code for rows in (300, 101, 100, 1)] == [200, 429, 200, 429]
    until_midnight = int(ask(1).headers["retry-after"])
    assert 0 < until_midnight <= 86_400
    strict.stop("blue")
    strict.start_otherwise("blue", bundles["lightgbm"].release, **STRICT)
    assert ask(1).status_code == 429


def test_a_key_that_walks_along_an_input_is_reported_and_answered(strict: Stack) -> None:
    with client_of(strict, "thief") as client:
        rows = [payment(1, transaction_id=f"walk-{cents}", amount_cents=cents) for cents in range(60)]
        assert client.post("/fraud/predict", json={"rows": rows}).status_code == 200
        assert client.post("/fraud/predict", json={"rows": rows}).status_code == 200
    assert labelled(strict, 'tidemill_scans_total{input="amount_cents",key="thief"}') == "1.0"
    log = (strict.settings.home / "blue.log").read_text()
    assert log.count("key thief walks along 'amount_cents'") == 1


def test_the_same_inputs_are_answered_from_the_cache_and_logged_again(tmp_path: Path) -> None:
    from tests.serving.release import train
    from tests.serving.worker import variant

    project = variant(batch_only=True)
    stack = make_stack(tmp_path, project=project)
    bundle = train(project, tmp_path / "train", tmp_path / "releases")
    try:
        stack.assign("blue", bundle)
        stack.start_otherwise("blue", bundle.release, batch_only=True, cache_seconds=60)
        with stack.client() as client:

            def ask(*rows: dict[str, Any]) -> list[dict[str, Any]]:
                found: list[dict[str, Any]] = client.post("/fraud/predict", json={"rows": list(rows)}).json()["rows"]
                return found

            first = ask(payment(7, transaction_id="cached-1"))
            again = ask(payment(8, transaction_id="cached-2"), payment(7, transaction_id="cached-3"))
        assert again[1]["probability"] == first[0]["probability"] != again[0]["probability"]
        assert len({one["request_id"] for one in first + again}) == 3
        assert stack.counted("tidemill_cache_hits_total") == 1
        assert stack.counted("tidemill_cache_misses_total") == 2
        until(lambda: len(stack.logged("cached-")) == 3)
        records = stack.logged("cached-")
        assert records["cached-1"]["vector"] == records["cached-3"]["vector"]
        assert records["cached-3"]["request_id"] == again[1]["request_id"]
    finally:
        stack.stop_all()


def test_the_documents_are_behind_the_key_and_load_nothing_else(slot: Stack) -> None:
    with slot.client() as client:
        page, made = client.get("/docs"), client.get("/docs.json").json()
    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text.replace("http://www.w3.org", "")
    assert all(f"<code>{name}</code>" in page.text for name in payment())
    assert made["components"]["schemas"]["Event"]["required"] == list(payment())
    assert "is_fraud" not in page.text, "what no request carries is not asked for"


CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
    negative_data_rejection, unsupported_method, ignored_auth,
]  # fmt: skip


@pytest.mark.fault("F60")
def test_schemathesis_finds_no_failure_and_no_undocumented_answer(slot: Stack) -> None:
    base, statuses = str(slot.client().base_url), Counter[int]()
    headers = {"Authorization": f"Bearer {KEY}"}
    schema = schemathesis.openapi.from_url(f"{base}/docs.json", headers=headers)
    for result in schema.get_all_operations():
        operation = result.ok()

        @hypothesis_settings(
            max_examples=60, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def ask(case: Any) -> None:
            answer = case.call(base_url=base, headers=headers)
            statuses[answer.status_code] += 1
            case.validate_response(answer, checks=CHECKS, headers=headers)

        posted = operation.method.upper() == "POST"
        for mode in (GenerationMode.POSITIVE, *([GenerationMode.NEGATIVE] if posted else [])):
            given(case=operation.as_strategy(generation_mode=mode))(ask)()
    assert statuses[200] > 20, statuses
    assert statuses[422] > 20, statuses


@pytest.mark.fault("F59")
def test_what_is_huge_deep_endless_or_many_is_refused_and_health_answers_on(slot: Stack) -> None:
    process = slot.running["blue"].pid

    def memory() -> int:
        return int(next(line.split()[1] for line in Path(f"/proc/{process}/status").open() if line.startswith("VmRSS")))

    with slot.client() as client, ThreadPoolExecutor(2) as pool:
        before, healthy = memory(), []
        watching = pool.submit(
            lambda: [healthy.append(client.get("/livez").status_code) or time.sleep(0.05) for _ in range(60)]
        )
        assert client.post("/fraud/predict", content=b"[" * 900_000).status_code == 422
        assert client.post("/fraud/predict", content=b'{"a":' * 150_000).status_code in (400, 422)
        assert sent(slot, b"x" * 60_000_000) == 413
        slow = [endless(slot) for _ in range(100)]
        statuses = asyncio.run(thousand(slot))
        watching.result()
        for one in slow:
            one.close()
        assert set(healthy) == {200}
        assert statuses == {"200": 1_000}, "a thousand clients at once are answered"
        assert memory() - before < 200_000, "kB"


def endless(slot: Stack) -> socket.socket:
    """A connection whose body never ends."""
    url = slot.client().base_url
    made = socket.create_connection((url.host, url.port or 0))
    made.sendall(
        f"POST /fraud/predict HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: 90\r\n\r\n{{".encode()
    )
    return made


def sent(slot: Stack, body: bytes) -> int:
    """The status of a body sent in one go, of which the server need not read more than it wants to."""
    try:
        return slot.client().post("/fraud/predict", content=body).status_code
    except httpx.HTTPError:  # the server hung up while we were still sending
        return 413


async def thousand(slot: Stack) -> Counter[str]:
    """The statuses of a thousand requests that are all under way at once, each on a connection of its own."""
    url = slot.client().base_url

    async def ask(number: int) -> str:
        body = json.dumps(payment(number)).encode()
        head = f"POST /fraud/predict HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\n"
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.read()
        writer.close()
        return answer[9:12].decode()

    return Counter(await asyncio.gather(*map(ask, range(1_000))))
