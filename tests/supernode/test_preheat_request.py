"""Parsing of preheat requests in the formats of Dragonfly 1 and 2."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import BadValue, ProtocolViolation
from dfengine.supernode.preheat_request import FILE, IMAGE, PEERS, SEEDS, SINGLE_SEED, PreheatRequest, parse_v1, parse_v2

HARBOR = Path(__file__).parent / "harbor"
IMAGE_URL = "https://harbor.example/v2/library/app/manifests/1.0"


def v1(**fields: Any) -> PreheatRequest:
    return parse_v1(json.dumps(fields).encode())


def v2(**arguments: Any) -> PreheatRequest:
    return parse_v2(json.dumps({"type": "preheat", "args": arguments}).encode())


def test_a_preheat_that_harbor_sends_to_dragonfly_1() -> None:
    asked = parse_v1((HARBOR / "preheats.json").read_bytes())
    assert (asked.kind, asked.urls, asked.scope) == (IMAGE, (IMAGE_URL,), SINGLE_SEED)
    assert asked.headers == (("Authorization", "Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl"),)


def test_a_preheat_that_harbor_sends_to_dragonfly_2() -> None:
    asked = parse_v2((HARBOR / "jobs.json").read_bytes())
    assert (asked.kind, asked.urls, asked.scope) == (IMAGE, (IMAGE_URL,), SEEDS)
    assert asked.headers == (("Authorization", "Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl"),)


def test_arguments_that_dragonfly_2_documents() -> None:
    asked = v2(type="image", url=IMAGE_URL, filteredQueryParams="Expires&Signature", username="u", password="p", platform="linux/arm64",
               concurrent_task_count=9000, headers={"X-A": ["1", "2"]})  # fmt: skip
    assert (asked.user, asked.password, asked.platforms, asked.unwanted) == ("u", "p", ("linux/arm64",), "Expires&Signature")
    assert asked.headers == (("X-A", "1"),)
    assert asked.at_once == 32
    assert v2(type="file", urls=["http://h/a", "http://h/b", "http://h/a"]).urls == ("http://h/a", "http://h/b")


def test_options_for_verification_of_the_origin() -> None:
    asked = v1(url="https://h/f", insecure=True, rootCAs=["cGVt", "bW9yZQ=="])
    assert (asked.insecure, asked.cacerts) == (True, (b"pem", b"more"))
    assert v2(url="https://h/f", insecure_skip_verify=True).insecure


def test_optional_fields_have_defaults() -> None:
    asked = v1(URL="http://h/a b", filter="x&y", md5="A" * 32, identifier="i", headers=None)
    assert asked == PreheatRequest(FILE, ("http://h/a%20b",), unwanted="x&y", md5="a" * 32, identifier="i")


@pytest.mark.parametrize(("given", "scope"), [
    ({}, SINGLE_SEED), ({"scope": ""}, SINGLE_SEED), ({"scope": "single_peer"}, SINGLE_SEED), ({"scope": "all_seed_peers"}, SEEDS),
    ({"scope": "all_peers"}, PEERS),
    ({"ips": ["10.0.0.1"]}, PEERS), ({"count": 3}, PEERS), ({"percentage": 50}, PEERS),
])  # fmt: skip
def test_scopes_of_image_preheats(given: dict[str, Any], scope: str) -> None:
    asked = v1(type="image", url=IMAGE_URL, **given)
    assert asked.scope == scope
    assert (asked.ips, asked.count, asked.percentage) == (tuple(given.get("ips", ())), given.get("count", 0), given.get("percentage", 0))


def test_secrets_are_not_shown_in_the_representation() -> None:
    asked = v1(type="image", url=IMAGE_URL, username="user", password="secret", headers={"Authorization": "secret"})
    assert "secret" not in repr(asked)
    assert asked.texts > 2 * len("secret")


WRONG: list[dict[str, Any]] = [
    {}, {"url": 5}, {"url": "ftp://h/f"}, {"url": "http://h/" + "a" * 20_000}, {"type": "jar", "url": "http://h/f"}, {"type": 5},
    {"type": "image", "url": "http://h/f"}, {"type": "image", "urls": [IMAGE_URL, IMAGE_URL + "1"]}, {"url": "df:sha256:" + "a" * 64},
    {"urls": ["http://h/f"] * 65}, {"urls": [5]}, {"urls": {"a": "b"}}, {"url": "http://h/f", "headers": ["A: b"]},
    {"url": "http://h/f", "headers": {"A": "b\r\nC: d"}}, {"url": "http://h/f", "headers": {"A b": "c"}},
    {"url": "http://h/f", "headers": {"A": "b" * 17_000}}, {"url": "http://h/f", "md5": "x"},
    {"url": "http://h/f", "identifier": "a" * 2000},
    {"type": "image", "url": IMAGE_URL, "scope": "everybody"}, {"type": "image", "url": IMAGE_URL, "ips": ["host"]},
    {"type": "image", "url": IMAGE_URL, "count": -1}, {"type": "image", "url": IMAGE_URL, "percentage": 101},
    {"type": "image", "url": IMAGE_URL, "count": True}, {"type": "image", "url": IMAGE_URL, "platform": "linux"},
    {"type": "image", "url": IMAGE_URL, "platforms": ["linux/amd64"] * 33}, {"type": "image", "url": IMAGE_URL, "pin": "yes"},
    {"type": "image", "url": IMAGE_URL, "id": "x"}, {"url": "http://h/f", "id": "a" * 64}, {"type": "image", "url": IMAGE_URL, "node": 1},
    {"type": "image", "url": IMAGE_URL, "nodes": ["a", "b"], "node": 2}, {"type": "image", "url": IMAGE_URL, "nodes": ["a b"]},
    {"url": "http://h/f", "insecure": "yes"}, {"url": "http://h/f", "rootCAs": ["?"]}, {"url": "http://h/f", "rootCAs": ["QQ=="] * 65},
    {"url": "http://h/f", "scope": "all_peers"}, {"url": "http://h/f", "username": {"a": 1}},
]  # fmt: skip


@pytest.mark.parametrize("fields", WRONG)
def test_invalid_fields_are_rejected(fields: dict[str, Any]) -> None:
    for read in (v1, v2):
        with pytest.raises((BadValue, ProtocolViolation)):
            read(**fields)


@pytest.mark.parametrize("body", [b"", b"5", b"[]", b'{"type": "sync_peers"}', b'{"type": "preheat"}', b'{"type": "preheat", "args": []}'])
def test_bodies_that_are_no_preheat_job_are_rejected(body: bytes) -> None:
    with pytest.raises((BadValue, ProtocolViolation)):
        parse_v2(body)


VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
                      lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3))  # fmt: skip
NAMES = ("type", "url", "urls", "headers", "scope", "ips", "count", "percentage", "platform", "username", "pin", "filter", "md5",
         "id", "nodes", "node")


@given(st.dictionaries(st.sampled_from(NAMES), VALUES), st.booleans())
def test_arbitrary_fields_are_parsed_or_rejected(fields: dict[str, Any], image: bool) -> None:
    if image:
        fields |= {"type": "image", "url": IMAGE_URL}
    for read in (v1, v2):
        with contextlib.suppress(BadValue, ProtocolViolation):
            assert read(**fields).urls
