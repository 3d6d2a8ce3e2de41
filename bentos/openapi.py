"""What a slot answers, as an OpenAPI 3.1 document and as a page: both made of the project's declaration."""

from __future__ import annotations

from html import escape
from typing import Any

import msgspec

from bentos.decoding import EARLIEST, LATEST, MAXIMUM_ROWS, MAXIMUM_TEXT
from bentos.explanations import MAXIMUM_ROWS as EXPLAINED_ROWS
from bentos.explanations import Explanation
from bentos.places import Placed
from bentos.scoring import Prediction
from jobs.spec import Column, Project

Json = dict[str, Any]
_REFUSALS = {
    400: "the body is not JSON",
    401: "no key, or none of this installation's",
    405: "another method",
    408: "the body took too long to arrive",
    413: "the body is too large",
    422: "a field is missing, unknown, of another type or out of range, or there are too many rows",
    429: "the key asks too fast or has no rows left today, or too many explanations wait; `retry-after` says when to come back",
    500: "the release answered something that is not a score",
    503: "the slot has no release, or the request's turn came after its deadline",
}  # fmt: skip
_PLAIN = {401: _REFUSALS[401], 405: _REFUSALS[405]}
_KEY: list[Json] = [{"key": []}]


def document(project: Project) -> Json:
    """The OpenAPI document of a project's slot."""
    source = project.sources[0]
    columns = [column for column in source.columns if not column.nullable]
    offered = {name for model in project.models if project.offers for name in model.item}
    event = {
        "type": "object",
        "properties": {column.name: _schema(column) for column in columns},
        "required": [column.name for column in columns if column.name not in offered],
        "additionalProperties": False,
    }
    (prediction, explanation), parts = msgspec.json.schema_components(
        [Placed if project.models[-1].group else Prediction, Explanation], ref_template="#/components/schemas/{name}"
    )
    asked = {"rows": {"type": "array", "items": _ref("Event"), "minItems": 1}}
    schemas = {
        **parts,
        "Event": event,
        "Events": _object({"rows": asked["rows"] | {"maxItems": MAXIMUM_ROWS}}),
        "FewEvents": _object({"rows": asked["rows"] | {"maxItems": EXPLAINED_ROWS}}),
        "Predictions": _object({"rows": {"type": "array", "items": prediction}}),
        "Explanations": _object({"rows": {"type": "array", "items": explanation}}),
        "Refusal": {
            "type": "object",
            "properties": {
                "error": {"type": "string"}, "request_id": {"type": "string"},
                "field": {"type": "string"}, "row": {"type": "integer", "minimum": 0},
            },
            "required": ["error", "request_id"],
        },
    }  # fmt: skip
    paths = {
        f"/{project.name}/predict": _post("Score events, which count from then on", "Events", prediction, "Predictions"),
        f"/{project.name}/explain": _post("Say why events are scored so", "FewEvents", explanation, "Explanations"),
        "/livez": _get("Whether the process runs", "application/json", {200: "it does"}, key=False),
        "/readyz": _get("What the slot serves", "application/json", {200: "it serves a release", 503: "it does not"}, key=False),
        "/metrics": _get("Counts and times, for Prometheus", "text/plain", {200: "all of them"}),
        "/docs.json": _get("This document", "application/json", {200: "it"}),
        "/docs": _get("This document as a page", "text/html", {200: "it"}),
    }  # fmt: skip
    return {
        "openapi": "3.1.0",
        "info": {"title": project.title, "version": "1", "description": f"Predictions of `{project.name}`."},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def page(project: Project) -> bytes:
    """The document as one HTML page that loads nothing else."""
    made = document(project)
    event = made["components"]["schemas"]["Event"]
    fields = [
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(_said(schema))}</td></tr>"
        for name, schema in event["properties"].items()
    ]
    parts = []
    for path, methods in made["paths"].items():
        for method, told in methods.items():
            answers = "".join(
                f"<tr><td>{status}</td><td>{escape(one['description'])}</td></tr>"
                for status, one in told["responses"].items()
            )
            parts.append(
                f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(told['summary'])}.</p>"
                f"<table><tr><th>status</th><th>when</th></tr>{answers}</table>"
            )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        f"<title>{escape(project.title)}</title><style>{_STYLE}</style><h1>{escape(project.title)}</h1>"
        "<p>Every request but <code>/livez</code> and <code>/readyz</code> carries a key: "
        "<code>Authorization: Bearer KEY</code>. A body is one event, or <code>{\"rows\": [event, …]}</code>.</p>"
        f"<h2>An event</h2><table><tr><th>field</th><th>what it is</th></tr>{''.join(fields)}</table>"
        f"{''.join(parts)}<p>The same for programs: <code>/docs.json</code>.</p></html>"
    ).encode()  # fmt: skip


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{text-align:left;padding:.2rem .8rem .2rem 0;border-bottom:1px solid #ddd}"
)


def _schema(column: Column) -> Json:
    if column.type == "timestamp":
        told = f"with an offset from UTC, from {EARLIEST.date()} to {LATEST.date()}"
        return {"type": "string", "format": "date-time", "description": told}
    if column.type == "string":
        return {"type": "string", "minLength": 1, "maxLength": column.maximum or MAXIMUM_TEXT}
    if column.type == "boolean":
        return {"type": "boolean"}
    bounds: Json = {"minimum": column.minimum, "maximum": column.maximum}
    if column.type == "integer":
        bounds = {"minimum": -(2**63), "maximum": 2**63 - 1} | _given(bounds)
    return {"type": column.type, **_given(bounds)}


def _given(bounds: Json) -> Json:
    return {name: bound for name, bound in bounds.items() if bound is not None}


def _said(schema: Json) -> str:
    return ", ".join(f"{name} {value}" if name != "type" else str(value) for name, value in schema.items())


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _content(kind: str, schema: Json) -> Json:
    return {"content": {kind: {"schema": schema}}}


def _refused(statuses: dict[int, str]) -> Json:
    return {
        str(status): {"description": why, **_content("application/json", _ref("Refusal"))}
        for status, why in statuses.items()
    }


def _post(summary: str, rows: str, answer: Json, answers: str) -> Json:
    given = {"required": True, **_content("application/json", {"anyOf": [_ref("Event"), _ref(rows)]})}
    told = _content("application/json", {"anyOf": [answer, _ref(answers)]})
    responses = {"200": {"description": "answered", **told}, **_refused(_REFUSALS)}
    return {"post": {"summary": summary, "security": _KEY, "requestBody": given, "responses": responses}}


def _get(summary: str, kind: str, statuses: dict[int, str], *, key: bool = True) -> Json:
    schema: Json = {"type": "object"} if kind == "application/json" else {"type": "string"}
    answered = {str(status): {"description": why, **_content(kind, schema)} for status, why in statuses.items()}
    refused = _refused(_PLAIN if key else {405: _PLAIN[405]})
    return {"get": {"summary": summary, "security": _KEY if key else [], "responses": answered | refused}}
