"""What `docker/compose.yaml` runs once before its services: `python -m jobs.services.containers secrets FOLDER`, `migrate`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from jobs.errors import TidemillError, UsageError
from jobs.services import control, credentials, places, postgres
from jobs.settings import Settings


def secrets(settings: Settings, folder: Path) -> None:
    """Generates every password that there is none of yet, and writes what each service is told to a folder of its own."""
    known = credentials.ensure(settings)
    identity = {
        "name": "tidemill",
        "credentials": [{"accessKey": known.s3_access_key, "secretKey": known.s3_secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    redis = ["appendonly yes", "dir /store", "maxmemory-policy noeviction", f"requirepass {known.redis}"]
    files = {
        "postgres/password": known.postgres,
        "redis/redis.conf": "\n".join(redis) + "\n",
        "redis/password": known.redis,
        "s3/identities.json": json.dumps({"identities": [identity]}),
    }
    for name, text in files.items():
        places.write_private(folder / name, text)
    # The files that every client of AWS reads. A bucket in the host's name would be a host of its own.
    places.write_private(places.home(settings) / "aws" / "config", "[default]\ns3 =\n    addressing_style = path\n")
    keys = ["[default]", f"aws_access_key_id = {known.s3_access_key}", f"aws_secret_access_key = {known.s3_secret_key}"]
    places.write_private(places.home(settings) / "aws" / "credentials", "\n".join(keys) + "\n")
    credentials.write_settings(settings)


def migrate(settings: Settings) -> None:
    """Gives every service its database, Airflow its tables and the lake its bucket; what exists is left alone.

    Raises ServiceError naming the log when Airflow's tables cannot be made.
    """
    postgres.make_databases(settings)
    control.migrate_airflow(settings)
    if settings.lake_uri.startswith("s3://"):
        _make_bucket(settings.lake_uri.removeprefix("s3://").partition("/")[0])


def _make_bucket(name: str) -> None:
    import boto3

    client = boto3.client("s3")
    if name not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket=name)


def main(arguments: list[str]) -> None:
    """Runs the named step; what cannot be done is one line on standard error."""
    try:
        match arguments:
            case ["secrets", folder]:
                secrets(Settings.load(), Path(folder))
            case ["migrate"]:
                migrate(Settings.load())
            case _:
                raise UsageError(f"say `secrets FOLDER` or `migrate`; got {arguments}")
    except TidemillError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main(sys.argv[1:])
