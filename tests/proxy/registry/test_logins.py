"""The proxy's own logins to registries: the file with them, token servers and tokens."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import BadValue
from dfengine.origin.challenge import parse
from dfengine.proxy.registries import Registry
from dfengine.proxy.registry.logins import given as with_users
from dfengine.proxy.registry.logins import read, scope_of, token_of, token_server

AUTH = b64encode(b"me:s3cret").decode()


def test_a_docker_login_file_is_parsed() -> None:
    local = {"username": "a", "password": "b:c"}
    auths = {"https://index.docker.io/v1/": {"auth": AUTH}, "registry.local:5000": local, "ghcr.io": {"auth": AUTH}}
    found = read(json.dumps({"auths": auths, "credHelpers": {}}).encode(), "f")
    assert found == {"registry-1.docker.io": "me:s3cret", "registry.local:5000": "a:b:c", "ghcr.io": "me:s3cret"}
    urls = ("docker.io", "http://registry.local:5000", "https://x:y@ghcr.io", "r.io=https://ghcr.io", "other.io")
    known = tuple(map(Registry.parse, urls))
    assert [each.user for each in with_users(known, found)] == ["me:s3cret", "a:b:c", "x:y", "me:s3cret", ""]


@pytest.mark.parametrize("text", [
    b"", b"[]", b"{", b'{"auths": 3}', b'{"auths": {"a": {}}}', b'{"auths": {"a": {"auth": "s3cret!"}}}',
    b'{"auths": {"a b": {"auth": "bTpz"}}}',
    b'{"auths": {"a": {"auth": "bWU="}}}', b'{"auths": {"a": {"username": "s3cret", "password": 1}}}', b'{"auths": {"a": "s3cret"}}',
    json.dumps({"auths": {"a": {"auth": b64encode(b"me:s3cret\r\nX: y").decode()}}}).encode(), b"[" * 100_000,
])  # fmt: skip
def test_an_invalid_login_file_is_rejected_without_quoting_its_content(text: bytes) -> None:
    with pytest.raises(BadValue) as error:
        read(text, "/etc/f")
    assert "/etc/f" in str(error.value)
    assert "s3cret" not in str(error.value)


def test_challenges_are_parsed_into_token_requests() -> None:
    text = 'Bearer realm="https://auth.docker.io/token?a=b",service="registry.docker.io",scope="repository:x:pull,push"'
    whom, target = token_server(parse(text), Registry.parse("docker.io"), "repository:library/alpine:pull")
    assert (whom.url, whom.user) == ("https://auth.docker.io", "")
    assert target == "/token?a=b&service=registry.docker.io&scope=repository%3Alibrary%2Falpine%3Apull"
    whom, target = token_server(parse("bearer Realm=http://127.0.0.1:5001/t"), Registry.parse("http://127.0.0.1:5000"), "")
    assert (whom.url, target) == ("http://127.0.0.1:5001", "/t?")


@pytest.mark.parametrize("realm", ["http://auth.io/t", "ftp://a/t", "https://", "https://me@a.io/t", "https://a.io/t#x", "/t", "https://a.io:99999/t",
                                   "https://[::1/t", "https://a.io/t x"])  # fmt: skip
def test_realms_that_must_not_receive_a_password_are_rejected(realm: str) -> None:
    with pytest.raises(BadValue):
        token_server(parse(f'Bearer realm="{realm}"'), Registry.parse("r.io"), "")


@given(st.text())
def test_any_challenge_yields_a_valid_https_request_or_is_rejected(text: str) -> None:
    try:
        whom, target = token_server(parse(f"Bearer realm={text}"), Registry.parse("r.io"), "repository:a:pull")
    except BadValue:
        return
    assert whom.scheme == "https"
    assert target.isascii()
    assert not {" ", "\r", "\n"} & set(target)


def test_token_scope_is_pull_on_one_repository() -> None:
    assert scope_of("/v2/library/alpine/manifests/3") == scope_of("/v2/library/alpine/blobs/sha256:aa") == "repository:library/alpine:pull"
    assert scope_of("/v2/a/tags/list?n=5") == "repository:a:pull"
    assert scope_of("/v2/") == scope_of("/v2/_catalog") == ""


def test_token_responses_are_parsed_or_rejected() -> None:
    assert token_of(b'{"token": "t", "expires_in": 300}') == ("t", 300.0)
    assert token_of(b'{"access_token": "t"}') == ("t", 60.0)
    for text in (b"", b"[]", b'{"token": 1}', b'{"token": "a\\r\\nb"}', b'{"token": "t", "expires_in": "x"}', b"[" * 100_000):
        with pytest.raises(BadValue):
            token_of(text)
