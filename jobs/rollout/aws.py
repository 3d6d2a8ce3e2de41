"""AWS's APIs as a rollout asks them: clients, where a service's tasks are, and errors that say what to set or allow.

What fails for AWS's own reasons (throttling, 5xx, a broken connection) is tried again after a random pause that grows; a
refusal is told at once. Credentials and region are those of every AWS tool, as in `bucket`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from jobs.bucket import ATTEMPTS
from jobs.errors import ServiceError, SettingError, TidemillError
from jobs.services.ports import service
from jobs.settings import Settings, region

_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnrecognizedClientException")
_ABSENT = (
    "ClusterNotFoundException", "ServiceNotFoundException", "ServiceNotActiveException", "NamespaceNotFound",
    "ServiceNotFound", "RuleNotFound", "TargetGroupNotFound",
)  # fmt: skip


@cache
def client(name: str) -> Any:
    """This process's client of a service; raises SettingError when the AWS settings are wrong."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    config = Config(
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        connect_timeout=5,
        read_timeout=30,
        # a server of one's own knows no `data-<name>`
        inject_host_prefix=not os.environ.get("AWS_ENDPOINT_URL"),
    )
    try:
        return boto3.client(name, config=config, region_name=region())
    except (BotoCoreError, ValueError) as error:
        raise SettingError(
            f"the AWS settings of this process are wrong: {error}; nothing was changed. Look at AWS_PROFILE and AWS_REGION"
        ) from None


def addresses(settings: Settings, name: str) -> list[str]:
    """Every address of a service in the namespace, in order: a name of DNS has eight at most, Cloud Map knows all.

    Raises SettingError for what a person has to set or allow, and ServiceError when Cloud Map does not answer.
    """
    namespace, known = settings.need("namespace"), service(name)
    with told(f"find {known} in {namespace}", "servicediscovery:DiscoverInstances", "TIDEMILL_NAMESPACE names", known):
        found = client("servicediscovery").discover_instances(
            NamespaceName=namespace, ServiceName=known, MaxResults=1_000, HealthStatus="ALL"
        )
    return sorted({one["Attributes"]["AWS_INSTANCE_IPV4"] for one in found["Instances"]})


@contextmanager
def told(doing: str, permission: str, setting: str, absent: str) -> Iterator[None]:
    """Turns AWS's errors into SettingError, for what a person has to set or allow, or ServiceError.

    `absent` is what `setting` says there is, for when there is none.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise _told(error, doing, permission, setting, absent) from None


def _told(error: Exception, doing: str, permission: str, setting: str, absent: str) -> TidemillError:
    from botocore.exceptions import ClientError, NoCredentialsError, PartialCredentialsError

    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return SettingError(
            f"no AWS credentials to {doing}; nothing was changed. Run with a role, or set AWS_PROFILE; "
            "`aws sts get-caller-identity` shows which"
        )
    if not isinstance(error, ClientError):
        return ServiceError(f"AWS could not {doing}: {error}; nothing was changed. Run the command again")
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status in (401, 403) or code in _DENIED:
        return SettingError(
            f"AWS denied to {doing} ({code}); nothing was changed. Allow this role {permission}; "
            "`aws sts get-caller-identity` shows the role"
        )
    if code in _ABSENT:
        return SettingError(
            f"AWS could not {doing} ({code}): there is no {absent}, which {setting}; nothing was changed. Terraform's "
            "output has the settings"
        )
    return ServiceError(
        f"AWS could not {doing}: {code or status} after {ATTEMPTS} attempts; nothing was changed. Run the command again"
    )
