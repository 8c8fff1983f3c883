"""A supernode follows a leader only for URLs that its own access rules allow it to read."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from dfengine.net.origin_access import OriginAccess
from dfengine.supernode.copies.own_origin_rules import may_use_leader


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """inside.test resolves to 10.0.0.5, other names of .test to 192.0.2.7, and all others fail; no proxy is set."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        if not host.endswith(".test"):
            raise socket.gaierror(-2, "not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.5" if host == "inside.test" else "192.0.2.7", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.mark.parametrize(
    ("url", "allow", "deny", "may"),
    [
        ("http://inside.test/f", (), (), True),
        ("http://nowhere/f", (), (), True),  # without rules no name is resolved
        ("s3://bucket/f", (), (), True),
        ("file:///f", (), (), False),
        ("FILE:///f", (), (), False),
        ("http://inside.test/f", (), ("10.0.0.0/8",), False),
        ("http://outside.test/f", (), ("10.0.0.0/8",), True),
        ("https://outside.test/f", (), (".test",), False),
        ("http://outside.test:8080/f", ("outside.test",), (), True),
        ("http://outside.test/f", ("192.0.2.0/24",), (), True),
        ("http://inside.test/f", ("192.0.2.0/24",), (), False),
        ("http://nowhere/f", (), ("10.0.0.0/8",), False),
        ("http://[bad/f", (), ("10.0.0.0/8",), False),
        ("s3://bucket/f", (), ("10.0.0.0/8",), False),
        ("hf://owner/model/f", ("192.0.2.0/24",), (), False),
    ],
)
def test_urls_that_may_be_taken_from_a_leader(url: str, allow: tuple[str, ...], deny: tuple[str, ...], may: bool) -> None:
    assert may_use_leader(url, OriginAccess(allow, deny)) is may


def test_with_a_proxy_rules_apply_to_names_without_resolving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:3128")
    assert may_use_leader("http://nowhere/f", OriginAccess((), ("10.0.0.0/8",)))
    assert not may_use_leader("http://nowhere/f", OriginAccess((), ("nowhere",)))
    assert not may_use_leader("http://10.1.2.3/f", OriginAccess((), ("10.0.0.0/8",)))


def test_without_an_access_list_all_urls_may_be_taken() -> None:
    assert may_use_leader("http://nowhere/f", None)
