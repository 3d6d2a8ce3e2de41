"""What a person may choose when starting a run: one declaration, from which come the form and the check.

Airflow's own check of a run's conf lets unknown keys and trailing newlines through, so every
task reads the conf through these models and never through a template.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowFailException
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from jobs.batch import Batches, parse_day, parse_run
from jobs.errors import UsageError

_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"


def _batch(text: str | None) -> str | None:
    return _checked(Batches.parse, text) if text else None


def _day(text: str | None) -> str | None:
    return _checked(parse_day, text) if text else None


def _checked(parse: Any, text: str) -> str:
    try:
        return str(parse(text))
    except UsageError as error:
        raise ValueError(str(error)) from None


def _form(**schema: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": ["string", "null"]} | schema)


class Conf(BaseModel):
    """The choices of a run; any other key in its conf is refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Batch(Conf):
    """Which days a run is about."""

    batch: Annotated[
        str | None,
        AfterValidator(_batch),
        _form(pattern=rf"^({_DAY}(\.\.{_DAY})?)?$"),
        Field(
            title="Batch",
            description="A UTC day, 2026-11-20, or a range, 2026-11-01..2026-11-20. "
            "Empty: the day of this run's data interval.",
        ),
    ] = None


class Training(Conf):
    """What a training learns from."""

    as_of: Annotated[
        str | None,
        AfterValidator(_day),
        _form(format="date"),
        Field(title="As of", description="Use what was known by the end of this day. Empty: the newest with features."),
    ] = None
    negative_control: Annotated[
        bool,
        Field(
            title="Negative control",
            description="Shuffle the training labels: the gate must refuse what comes of it.",
        ),
    ] = False


class Release(Conf):
    """Which release goes out, and whether it is only a rehearsal."""

    release: Annotated[
        str | None,
        Field(title="Release", pattern=r"^(r-[0-9a-f]{12})?$", description="Empty: the registered challenger."),
        _form(pattern="^(r-[0-9a-f]{12})?$"),
    ] = None
    rehearse: Annotated[
        Literal["", "slow", "errors", "crash", "leak"],
        Field(
            title="Rehearse",
            description="Make the candidate misbehave, to see it rolled back. It is never promoted.",
        ),
    ] = ""


def params(conf: type[Conf]) -> dict[str, Param]:
    """The trigger form of a DAG whose runs take this conf."""
    fields = conf.model_json_schema()["properties"]
    return {name: Param(schema.pop("default"), **schema) for name, schema in fields.items()}


def read(conf: type[Conf], context: Any) -> Any:
    """The run's choices, checked; raises AirflowFailException, which is not retried, naming every fault."""
    try:
        parse_run(context["run_id"])
        return conf.model_validate(context["dag_run"].conf or {})
    except UsageError as error:
        raise AirflowFailException(str(error)) from None
    except ValidationError as error:
        faults = [
            f"- param {'.'.join(map(str, fault['loc']))!a:.80}: {fault['msg']}; got {fault['input']!a:.80}"
            for fault in error.errors(include_url=False)
        ]
        raise AirflowFailException("\n".join(["this run's conf was refused; nothing was started:", *faults])) from None
