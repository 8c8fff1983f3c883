"""The OpenAPI document is valid and describes the console's routes."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Any

import jsonschema
import msgspec
import pytest

from dfengine.errors import BadValue
from dfengine.net.http import Request
from dfengine.supernode.console.console_token import ConsoleToken
from dfengine.supernode.console.handlers import Handlers
from dfengine.supernode.console.openapi import document
from dfengine.supernode.console.operations import API, SEGMENTS, TABLE
from dfengine.supernode.console.queries import NewPreheat
from dfengine.supernode.preheat_request import parse_v1
from dfengine.supernode.router import ROUTES

DOCUMENT: dict[str, Any] = json.loads(json.dumps(document(TABLE)))


def references(found: Any) -> set[str]:
    if isinstance(found, dict):
        own = {found["$ref"]} if "$ref" in found else set()
        return own.union(*map(references, found.values()))
    return set().union(*map(references, found)) if isinstance(found, list) else set()


def test_each_operation_is_documented_and_has_a_handler_method() -> None:
    described = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert described == {(operation.method, API + operation.path) for operation in TABLE}
    names = [operation.name for operation in TABLE]
    assert len(set(names)) == len(names)
    assert all(hasattr(Handlers, name) for name in names if name not in ("live", "openapi"))
    assert not [path for path in ROUTES if path.startswith(API)]


def test_schemas_are_valid_and_all_references_resolve() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    assert references(DOCUMENT) <= {f"#/components/schemas/{name}" for name in schemas}
    for methods in DOCUMENT["paths"].values():
        for operation in methods.values():
            assert {"400", "401", "405"} <= set(operation["responses"])
            for parameter in operation["parameters"]:
                jsonschema.Draft202012Validator.check_schema(parameter["schema"])
                assert parameter["in"] in ("path", "query", "header")


def test_path_parameters_match_the_path_templates() -> None:
    for path, methods in DOCUMENT["paths"].items():
        named = set(re.findall(r"\{(\w+)\}", path))
        assert named <= set(SEGMENTS)
        for operation in methods.values():
            assert {each["name"] for each in operation["parameters"] if each["in"] == "path"} == named


def test_exactly_the_changing_operations_are_not_get_and_need_a_token() -> None:
    for operation in TABLE:
        assert operation.changes == (operation.method != "GET")
        told = DOCUMENT["paths"][API + operation.path][operation.method.lower()]
        assert ({} in told["security"]) is not operation.changes
        assert not (operation.watched and operation.changes)


def asked(path: str, method: str = "GET", shown: str = "") -> Request:
    return Request(method, path.encode(), {"authorization": f"Bearer {shown}"} if shown else {}, b"", "127.0.0.1")


def test_requests_that_a_console_token_or_page_path_exempts_from_signatures(tmp_path: Any) -> None:
    file = tmp_path / "token"
    file.write_text("0123456789abcdef\n")
    file.chmod(0o600)
    token = ConsoleToken(str(file), True, {"/console/"})
    assert token.permits(asked("/console/"))
    assert token.permits(asked("/api/v2/tasks", "DELETE", "0123456789abcdef"))
    for request in (
        asked("/console/", "POST"), asked("/api/v2/tasks"), asked("/api/v2/tasks", shown="0123456789abcde"),
        asked("/console/../swarm/pull"), asked("/v1.0/api/v2/tasks", shown="0123456789abcdef"),
        asked("/api/v1/cache", shown="0123456789abcdef"),
        asked("/swarm/pull", "POST", "0123456789abcdef"),
    ):  # fmt: skip
        assert not token.permits(request), request.path
    basic = Request("POST", b"/api/v2/tasks", {"authorization": "Basic OjAxMjM0NTY3ODlhYmNkZWY="}, b"", "127.0.0.1")
    assert not token.permits(basic)
    assert not ConsoleToken(str(file)).changes(basic)
    assert not ConsoleToken().changes(asked("/api/v2/tasks", shown="x"))
    assert ConsoleToken("", True).changes(asked("/api/v2/tasks"))


@pytest.mark.parametrize(("url", "taken"), [
    ("http://h/f", True), ("HTTPS://h/f?a=b", True), ("http://[::1]/f", True), ("s3://bucket/key", True), ("hf://org/name/f", True),
    ("file:///x", True), ("http://h\u00f6st/f", True),
    ("0", False), ("", False), ("h/f", False), ("//h/f", False), ("http:/h/f", False), ("http:///f", False), ("http://?", False),
    ("ftp://h/f", False), (" http://h/f", False), ("s3:///key", False), ("file://h/x", False), ("httpx://h/f", False),
    (f"df:sha256:{'0' * 64}", False), ("x" * 16384, False),
])  # fmt: skip
def test_the_schema_of_a_preheat_url_accepts_the_urls_that_the_parsers_accept(url: str, taken: bool) -> None:
    schema = {"$ref": "#/components/schemas/NewPreheat", "components": DOCUMENT["components"]}
    assert jsonschema.Draft202012Validator(schema).is_valid({"url": url}) is taken
    body = json.dumps({"url": url}).encode()
    for check in (partial(msgspec.json.decode, type=NewPreheat), parse_v1):
        try:
            check(body)
        except (msgspec.ValidationError, BadValue):
            assert not taken
        else:
            assert taken
