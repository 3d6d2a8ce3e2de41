"""A lake on S3's API: several machines publish and read one lake, and S3 fails in the ways it does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs import bucket, mirror
from jobs.bucket import PART_BYTES, Bucket
from jobs.errors import ServiceError, SettingError, StalePublishError, TamperedError
from jobs.lake import MIRROR
from jobs.settings import ROOT
from jobs.storage import POINTER, Published, current, publish, require, verify
from tests import buckets
from tests.proxies import Answer, Asked, between


@pytest.fixture
def name(aws: str) -> str:
    return buckets.new_bucket()


@pytest.fixture
def machines(tmp_path: Path, name: str) -> list[Path]:
    """One partition of one lake, as some machines see it."""
    return [tmp_path / f"machine{number}" / MIRROR / name / "lake" / "raw" / "batch=2026-01-10" for number in range(8)]


def put(partition: Path, text: str, watermark: str = "2026-01-10", *, force: bool = False) -> Published:
    def write(folder: Path) -> int:
        (folder / "part-00000.parquet").write_text(text)
        (folder / "inner").mkdir()
        (folder / "inner" / "more.bytes").write_text(text * 2)
        return len(text)

    return publish(partition, write, inputs={"text": text}, watermark=watermark, force=force)


def text_of(partition: Path) -> str:
    return Path(require(partition, "").paths()[0]).read_text()


def test_what_one_machine_publishes_another_reads(machines: list[Path]) -> None:
    here, there = machines[:2]
    assert current(there) is None
    first = put(here, "one")
    assert text_of(there) == "one"
    verify(require(there, ""))
    assert (require(there, "").folder / "inner" / "more.bytes").read_text() == "oneone"
    assert not put(there, "one").changed
    put(there, "two", "2026-01-11")
    assert (text_of(here), require(here, "").epoch) == ("two", 2)
    with pytest.raises(StalePublishError, match=r"s3://.*2026-01-11, newer than 2026-01-10"):
        put(here, "three")
    assert text_of(there) == "two"
    assert (first.folder / "part-00000.parquet").read_text() == "one", "a reader keeps the version it opened"


@pytest.mark.fault("F67")
def test_of_many_machines_that_publish_at_once_each_gets_an_epoch_of_its_own(machines: list[Path]) -> None:
    with ThreadPoolExecutor(len(machines)) as pool:
        published = list(pool.map(put, machines, [f"text {number}" for number in range(len(machines))]))
    assert sorted(one.epoch for one in published) == list(range(1, len(machines) + 1))
    last = max(published, key=lambda one: one.epoch)
    assert {require(partition, "").version for partition in machines} == {last.version}


def test_no_forced_replacement_of_any_machine_is_missing_from_the_audit(machines: list[Path]) -> None:
    put(machines[0], "newest", "2026-01-31")

    def force(number: int) -> None:
        put(machines[number], f"old {number}", f"2026-01-0{number + 1}", force=True)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(force, range(6)))
    lines = (mirror.read(machines[7] / "audit.jsonl") or b"").decode().splitlines()
    versions = {json.loads(line)["by"] for line in lines}
    assert len(versions) == 6


def test_what_was_just_written_is_looked_for_among_the_newest_days_only(aws: str, machines: list[Path]) -> None:
    root, began = machines[0].parent, datetime.now(UTC) - timedelta(seconds=5)
    days = [f"batch=2026-01-{day:02}" for day in range(1, 13)] + ["batch=9999-12-31"]
    for day in days:
        mirror.write(root / day / "blue.jsonl", b"{}\n")
    there = machines[1].parent
    with between(aws, lambda _, forward: forward()) as asked:
        assert [folder.name for folder in mirror.recent(there, began)] == days[4:12]
    assert (there / "batch=2026-01-12" / "blue.jsonl").read_bytes() == b"{}\n"
    assert not [one.line for one in asked if "2026-01-04" in one.line or "9999" in one.line]
    assert mirror.recent(there, datetime.now(UTC) + timedelta(minutes=1)) == []


@pytest.mark.fault("F67")
def test_wrong_bytes_are_told_by_their_digest_and_repaired_by_force(machines: list[Path], name: str) -> None:
    here, there = machines[:2]
    published = put(here, "one")
    at = mirror.remote(published.folder / "part-00000.parquet")
    assert at is not None
    at[0].put(at[1], b"two")
    with pytest.raises(TamperedError, match=rf"s3://{name}/.*part-00000\.parquet is not what its manifest states"):
        text_of(there)
    put(here, "one", force=True)
    assert text_of(there) == "one"
    at[0].remove([at[1]])
    with pytest.raises(TamperedError, match="missing or altered"):
        text_of(machines[2])


def test_large_files_go_in_parts_and_everything_is_encrypted_with_the_key(machines: list[Path], name: str) -> None:
    data = os.urandom(PART_BYTES + 1)

    def write(folder: Path) -> int:
        (folder / "large.parquet").write_bytes(data)
        return 1

    key = "arn:aws:kms:eu-central-1:123456789012:key/0d3b8c0e-1111-4222-8333-444455556666"
    original = mirror.bucket
    try:
        mirror.bucket = lambda name: Bucket(name, key)  # type: ignore[assignment]
        published = publish(machines[0], write, inputs={}, watermark="")
    finally:
        mirror.bucket = original
    assert Path(require(machines[1], "").paths()[0]).read_bytes() == data
    for path in (published.folder / "large.parquet", published.folder / "manifest.json", published.partition / POINTER):
        at = mirror.remote(path)
        assert at is not None
        found = bucket.client().head_object(Bucket=name, Key=at[1])
        assert (found["ServerSideEncryption"], found["SSEKMSKeyId"]) == ("aws:kms", key)
        assert ("-2" in found["ETag"]) is (path.name == "large.parquet"), "two parts"


@contextmanager
def failing(
    address: str, status: int, code: str, times: int, headers: dict[str, str] | None = None
) -> Iterator[list[str]]:
    """An S3 that answers so the first times it is asked; what it was asked is listed."""
    lines: list[str] = []

    def change(asked: Asked, forward: Callable[[], Answer]) -> Answer:
        lines.append(asked.line)
        said = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
        return Answer(status, said, headers or {}) if len(lines) <= times else forward()

    with between(address, change):
        yield lines


@pytest.mark.fault("F67")
@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (500, "InternalError")])
def test_what_s3_could_not_do_for_now_is_tried_again(aws: str, machines: list[Path], status: int, code: str) -> None:
    put(machines[0], "one")
    with failing(aws, status, code, times=2) as asked:
        assert text_of(machines[1]) == "one"
    assert asked[0] == asked[1] == asked[2]


@pytest.mark.fault("F67")
def test_what_s3_cannot_do_for_long_is_told_and_nothing_is_published(
    aws: str, machines: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "ATTEMPTS", 2)
    put(machines[0], "one")
    with (
        failing(aws, 503, "SlowDown", times=99) as asked,
        pytest.raises(ServiceError, match="SlowDown after 2 attempts"),
    ):
        put(machines[1], "two", "2026-01-11")
    assert len(asked) == 2
    assert text_of(machines[0]) == "one"


@pytest.mark.fault("F67")
def test_an_answer_that_does_not_come_or_breaks_off_is_asked_for_again(
    aws: str, machines: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "ANSWER_SECONDS", 1)
    put(machines[0], "one" * 1_000)
    asked: dict[str, int] = {}

    def change(one: Asked, forward: Callable[[], Answer]) -> Answer | None:
        times = asked[one.line] = asked.get(one.line, 0) + 1
        if one.line.startswith("GET") and POINTER in one.line and times == 1:
            time.sleep(1.5)  # longer than is waited for
        if one.line.startswith("GET") and "part-00000" in one.line and times == 1:
            return None
        answer = forward()
        if one.line.startswith("GET") and "more.bytes" in one.line and times == 1:
            answer.cut = 1_000
        return answer

    with between(aws, change):
        assert text_of(machines[1]) == "one" * 1_000
    found = {name: sum(many for line, many in asked.items() if f"{name}" in line and line.startswith("GET"))
             for name in (POINTER, "part-00000.parquet", "more.bytes")}  # fmt: skip
    assert found == {POINTER: 2, "part-00000.parquet": 2, "more.bytes": 2}


@pytest.mark.fault("F67")
def test_of_a_large_file_that_was_sent_in_part_nothing_is_there(
    aws: str, machines: list[Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "ATTEMPTS", 2)
    put(machines[0], "one")

    def write(folder: Path) -> int:
        (folder / "large.parquet").write_bytes(bytes(PART_BYTES + 1))
        return 1

    def change(asked: Asked, forward: Callable[[], Answer]) -> Answer:
        said = b"<Error><Code>InternalError</Code><Message>no</Message></Error>"
        return Answer(500, said) if "partNumber=2" in asked.line else forward()

    with between(aws, change), pytest.raises(ServiceError, match=r"write .*large\.parquet: InternalError"):
        publish(machines[1], write, inputs={}, watermark="2026-01-11")
    assert text_of(machines[2]) == "one"
    assert not [one.key for one in Bucket(name).listed("") if one.key.endswith(("large.parquet", "audit.jsonl"))]
    assert not bucket.client().list_multipart_uploads(Bucket=name).get("Uploads"), "parts cost money for ever"
    assert publish(machines[1], write, inputs={}, watermark="2026-01-11").epoch == 2
    assert Path(require(machines[2], "").paths()[0]).stat().st_size == PART_BYTES + 1


@pytest.mark.fault("F67")
@pytest.mark.parametrize(
    ("status", "code", "headers", "told"),
    [(403, "AccessDenied", {}, r"denied to read s3://.*kms:Decrypt"),
     (403, "InvalidAccessKeyId", {}, "denied to read"),
     (404, "NoSuchBucket", {}, "no bucket .* which TIDEMILL_LAKE_URI names")],
)  # fmt: skip
def test_a_refusal_is_told_at_once(
    aws: str, machines: list[Path], status: int, code: str, headers: dict[str, str], told: str
) -> None:
    with failing(aws, status, code, times=99, headers=headers) as asked, pytest.raises(SettingError, match=told):
        current(machines[0])
    assert len(asked) == 1


@pytest.mark.fault("F67")
def test_a_bucket_of_another_region_is_told_with_the_setting(aws: str, machines: list[Path]) -> None:
    where = {"x-amz-bucket-region": "us-west-2"}
    with (
        failing(aws, 301, "PermanentRedirect", times=99, headers=where),
        pytest.raises(SettingError, match=r"is in us-west-2, not in eu-central-1.*AWS_REGION=us-west-2"),
    ):
        current(machines[0])


def test_without_credentials_a_command_says_which_to_set(aws: str, name: str, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    environment |= {
        "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL": aws,
        "TIDEMILL_HOME": str(tmp_path), "TIDEMILL_LAKE_URI": f"s3://{name}/lake",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "jobs", "ingest", "--project", "fraud", "--batch", "2026-01-10"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert "set AWS_ACCESS_KEY_ID" in done.stderr.replace("Set", "set")
    assert "Traceback" not in done.stderr
