"""Lakes on S3's API: moto's server in a process of its own, spoken to over HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jobs import bucket, mirror
from jobs.rollout.aws import client as aws_client

_SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": "eu-central-1"}


@contextmanager
def aws() -> Iterator[str]:
    """The address of an AWS of this process's own, which every client of it and its children then speaks to."""
    quiet = os.environ | {"MOTO_S3_ALLOW_CROSSACCOUNT_ACCESS": "true"}
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, env=quiet,
    )  # fmt: skip
    before = {name: os.environ.get(name) for name in (*CREDENTIALS, "AWS_ENDPOINT_URL")}
    try:
        assert process.stdout is not None
        address = f"http://127.0.0.1:{process.stdout.readline().strip()}"
        os.environ.update(CREDENTIALS, AWS_ENDPOINT_URL=address)
        forget()
        yield address
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        forget()
        process.communicate()


def client(service: str) -> Any:
    """A client of this test's AWS."""
    import boto3

    return boto3.client(service, region_name=CREDENTIALS["AWS_REGION"])


def forget() -> None:
    """Lets the next call read the environment anew."""
    bucket.client.cache_clear()
    aws_client.cache_clear()
    mirror.bucket.cache_clear()


def new_bucket() -> str:
    """The name of an empty bucket of this call's own."""
    name = f"lake-{uuid.uuid4().hex[:12]}"
    bucket.client().create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": CREDENTIALS["AWS_REGION"]}
    )
    return name


def remove(path: Path) -> None:
    """Removes a file of a lake, on S3 too where the path mirrors it."""
    path.unlink()
    if at := mirror.remote(path):
        at[0].remove([at[1]])
