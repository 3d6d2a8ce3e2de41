"""A bucket of S3's API: conditional writes, parts in parallel, and errors that say what to set.

Whatever fails for S3's own reasons (5xx, throttling, a broken connection) is tried again after a random pause that
grows; a refusal (403, no such bucket, another region) is told at once. Credentials, region and endpoint are those of
every AWS tool: AWS_ACCESS_KEY_ID or a role or AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL_S3.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jobs.errors import ServiceError, SettingError, TidemillError
from jobs.settings import region

ATTEMPTS = 6
"""How often a call is tried in all: pauses of up to 1, 2, 4, 8 and 16 seconds between."""
ANSWER_SECONDS = 60
"""How long S3 may say nothing, before that counts as a failed try."""
PART_BYTES = 16 << 20
"""Files above this go in parts of this size, several at once."""
_AT_ONCE = 16
_WRITTEN = "written-ns"
"""S3 keeps times in whole seconds; ours, in nanoseconds, is kept beside the object."""
_LOST = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409")
_ABSENT = ("NoSuchKey", "404", "NotFound")
_ELSEWHERE = ("PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")


class Object(NamedTuple):
    """An object's bytes and what a later write is conditional on."""

    data: bytes
    tag: str
    written_ns: int


class Listed(NamedTuple):
    """An object as a listing shows it."""

    key: str
    size: int
    modified_ns: int


@dataclass(frozen=True)
class Bucket:
    """One bucket; `kms_key` encrypts what is written, else the bucket's own default does.

    Every method raises SettingError for what a person has to set or allow, and ServiceError when S3 did not answer.
    """

    name: str
    kms_key: str | None = None

    def get(self, key: str) -> Object | None:
        """An object, or None where there is none."""
        with self._errors("read", key):
            try:
                found = client().get_object(Bucket=self.name, Key=key)
            except _client_error() as error:
                if _code(error) in _ABSENT:
                    return None
                raise
            return Object(found["Body"].read(), found["ETag"], _written_ns(found))

    def tag(self, key: str) -> str | None:
        """An object's entity tag, or None where there is none."""
        with self._errors("read", key):
            try:
                return str(client().head_object(Bucket=self.name, Key=key)["ETag"])
            except _client_error() as error:
                if _code(error) in _ABSENT:
                    return None
                raise

    def put(self, key: str, data: bytes, written_ns: int | None = None) -> None:
        """Writes an object, whatever was there."""
        self._put(key, data, written_ns, {})

    def swap(self, key: str, data: bytes, tag: str | None, written_ns: int | None = None) -> bool:
        """Whether the object was written: only if it still has that tag, or with None only if there is none."""
        return self._put(key, data, written_ns, {"IfMatch": tag} if tag else {"IfNoneMatch": "*"})

    def _put(self, key: str, data: bytes, written_ns: int | None, condition: dict[str, str]) -> bool:
        stamp = {_WRITTEN: str(written_ns or time.time_ns())}
        with self._errors("write", key):
            try:
                client().put_object(
                    Bucket=self.name, Key=key, Body=data, Metadata=stamp, **condition, **self._encryption
                )
            except _client_error() as error:
                if condition and _code(error) in (*_LOST, *_ABSENT):
                    return False
                raise
        return True

    def upload(self, files: dict[str, Path]) -> None:
        """Writes files under their keys, several at once, large ones in parts."""

        def one(item: tuple[str, Path]) -> None:
            key, path = item
            extra = {"Metadata": {_WRITTEN: str(path.stat().st_mtime_ns)}, **self._encryption}
            with self._errors("write", key):
                client().upload_file(str(path), self.name, key, ExtraArgs=extra, Config=_transfer())

        _each(one, list(files.items()))

    def download(self, files: dict[str, Path]) -> None:
        """Fetches keys into files, several at once; each file appears whole or not at all."""

        def one(item: tuple[str, Path]) -> None:
            key, path = item
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._errors("read", key):
                client().download_file(self.name, key, str(path), Config=_transfer())

        _each(one, list(files.items()))

    def listed(self, prefix: str) -> Iterator[Listed]:
        """Every object whose key begins so, in order."""
        with self._errors("list", prefix):
            for page in client().get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
                for found in page.get("Contents", []):
                    yield Listed(found["Key"], found["Size"], int(found["LastModified"].timestamp() * 1e9))

    def folders(self, prefix: str) -> Iterator[str]:
        """The names of the folders directly below a prefix that ends in a slash, in order."""
        with self._errors("list", prefix):
            pages = client().get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix, Delimiter="/")
            for page in pages:
                for found in page.get("CommonPrefixes", []):
                    yield found["Prefix"].removeprefix(prefix).rstrip("/")

    def remove(self, keys: list[str]) -> None:
        """Removes objects; those that are not there are no matter."""
        for at in range(0, len(keys), 1_000):
            with self._errors("remove", keys[at]):
                wanted = [{"Key": key} for key in keys[at : at + 1_000]]
                client().delete_objects(Bucket=self.name, Delete={"Objects": wanted, "Quiet": True})

    @property
    def _encryption(self) -> dict[str, str]:
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.kms_key} if self.kms_key else {}

    @contextmanager
    def _errors(self, verb: str, key: str) -> Iterator[None]:
        from boto3.exceptions import S3UploadFailedError
        from botocore.exceptions import BotoCoreError

        try:
            yield
        except S3UploadFailedError as error:  # wraps the answer of the part that failed
            raise self._told(verb, key, error.__context__ or error) from None
        except (BotoCoreError, _client_error()) as error:
            raise self._told(verb, key, error) from None

    def _told(self, verb: str, key: str, error: BaseException) -> TidemillError:
        from botocore.exceptions import ClientError, NoCredentialsError, PartialCredentialsError

        place = f"s3://{self.name}/{key}"
        if isinstance(error, NoCredentialsError | PartialCredentialsError):
            return SettingError(
                f"no AWS credentials to {verb} {place}; nothing was changed. Set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run with a role; `aws sts get-caller-identity` shows which"
            )
        if not isinstance(error, ClientError):
            return ServiceError(f"S3 could not {verb} {place}: {error}; nothing was changed. Run the command again")
        code, answer = _code(error), error.response
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        if code == "NoSuchBucket":
            return SettingError(
                f"there is no bucket {self.name!r}, which TIDEMILL_LAKE_URI names; nothing was changed. Set it to a "
                "bucket of this account and AWS_REGION to its region"
            )
        if code in _ELSEWHERE:
            region = headers.get("x-amz-bucket-region") or answer.get("Error", {}).get("Region") or "another region"
            return SettingError(
                f"bucket {self.name!r}, which TIDEMILL_LAKE_URI names, is in {region}, not in "
                f"{client().meta.region_name or 'the region that is set'}; nothing was changed. Set AWS_REGION={region}"
            )
        if status in (401, 403) or code in ("AccessDenied", "403"):
            return SettingError(
                f"S3 denied to {verb} {place} ({code}); nothing was changed. Allow this role s3:GetObject, "
                "s3:PutObject, s3:DeleteObject and s3:ListBucket on the lake, and kms:Decrypt and "
                "kms:GenerateDataKey on its key; `aws sts get-caller-identity` shows the role"
            )
        return ServiceError(
            f"S3 could not {verb} {place}: {code or status} after {ATTEMPTS} attempts; nothing was changed. "
            "Run the command again"
        )


@cache
def client() -> Any:
    """This process's client; safe to share between threads."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    own = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    config = Config(
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        connect_timeout=5,
        read_timeout=ANSWER_SECONDS,
        max_pool_connections=2 * _AT_ONCE,
        # a server under a name of its own knows no `<bucket>.<name>`
        s3={"addressing_style": "path" if own else "auto"},
    )
    try:
        return boto3.client("s3", config=config, region_name=region())
    except (BotoCoreError, ValueError) as error:
        raise SettingError(
            f"the AWS settings of this process are wrong: {error}; nothing was started. Look at AWS_PROFILE, AWS_REGION "
            "and AWS_ENDPOINT_URL_S3"
        ) from None


@cache
def _transfer() -> Any:
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=4)


def _each(one: Any, items: list[Any]) -> None:
    if len(items) == 1:
        one(items[0])
    elif items:
        with ThreadPoolExecutor(min(_AT_ONCE, len(items)), thread_name_prefix="s3") as pool:
            list(pool.map(one, items))


def _client_error() -> type[Any]:
    from botocore.exceptions import ClientError

    return ClientError  # type: ignore[no-any-return]


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _written_ns(found: dict[str, Any]) -> int:
    return int(found.get("Metadata", {}).get(_WRITTEN) or found["LastModified"].timestamp() * 1e9)
