"""The description of `/api/v2` as OpenAPI 3.1, made from the table of operations and the types of their parameters and responses. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dfengine.about import VERSION
from dfengine.supernode.console.api_types import EventRow, HostChange, Problem, SwarmChange
from dfengine.supernode.console.operations import API, SEGMENTS, Operation

ABOUT = (
    "The interface of a dfengine supernode for its operators. Sizes are bytes, rates bytes per second, times Unix seconds. "
    "Permissions to read and change: docs/security.md. Names and URLs come from clients: treat them as text, never as markup."
)

LIVE = (
    "An endless stream of server-sent events. `overview`: an Overview, about each second. `event`: an EventRow; its id is the message's, "
    "from which a reader resumes with `Last-Event-ID`. `resource`: the watched resource, as its GET returns it, when it has changed. For a "
    "task's swarm: `swarm`, a Swarm, then `swarm_change`, each a SwarmChange of the previous tick. `gone`: a Problem, when the watched "
    "resource has been removed. A slow reader misses messages, and never gets outdated ones."
)

REFUSALS = {
    400: "A parameter or the body is not as described", 401: "The token or the signature is missing or wrong",
    403: "Read-only: the supernode has neither a secret nor a token for the console", 404: "Not found",
    405: "The path has other methods", 429: "Too many requests wait for figures, or too many preheats run",
}  # fmt: skip


def document(table: Sequence[Operation]) -> dict[str, Any]:
    """Return the whole document."""
    types = [Problem, EventRow, SwarmChange, HostChange]
    types += [each for operation in table for each in (operation.answer, operation.body) if each is not None]
    _, schemas = msgspec.json.schema_components(dict.fromkeys(types), ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for operation in table:
        paths.setdefault(API + operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "dfengine supernode", "version": VERSION, "description": ABOUT, "license": {"name": "Apache-2.0"}},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "The token of --console-token-file"}},
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": operation.name, "summary": operation.summary, "tags": [operation.path.split("/")[1].partition(".")[0]],
        "parameters": [*map(_segment, operation.ids), *_query(operation)], "responses": _responses(operation),
        "security": [{"token": []}] if operation.changes else [{}, {"token": []}],
    }  # fmt: skip
    if operation.name == "live":
        found["description"] = LIVE
        found["parameters"].append({
            "name": "Last-Event-ID", "in": "header", "required": False, "description": "The id of the last event that the reader has",
            "schema": {"type": "integer", "minimum": 0, "maximum": 1 << 53},
        })  # fmt: skip
    if operation.body is not None:
        schema = {"$ref": f"#/components/schemas/{operation.body.__name__}"}
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return found


def _segment(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": f"^{SEGMENTS[name]}$"}}


def _query(operation: Operation) -> list[dict[str, Any]]:
    _, schemas = msgspec.json.schema_components([operation.query])
    [described] = schemas.values()
    found = []
    for name, schema in described["properties"].items():
        schema = dict(schema)
        parameter: dict[str, Any] = {"name": name, "in": "query", "required": False}
        if "description" in schema:
            parameter["description"] = schema.pop("description")
        found.append(parameter | {"schema": schema})
    return found


def _responses(operation: Operation) -> dict[str, Any]:
    if operation.name == "live":
        done: dict[str, Any] = {"text/event-stream": {"schema": {"type": "string"}}}
    else:
        schema = {"$ref": f"#/components/schemas/{operation.answer.__name__}"} if operation.answer else {"type": "object"}
        done = {"application/json": {"schema": schema}}
    refusals = {400, 401, 405, 429} | ({403} if operation.changes else set()) | ({404} if operation.ids else set())
    statuses = {status: REFUSALS[status] for status in sorted(refusals)} | dict(operation.other)
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {str(operation.status): {"description": operation.summary, "content": done}} | {
        str(status): {"description": why, "content": problem} for status, why in sorted(statuses.items())
    }
