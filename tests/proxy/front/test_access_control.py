"""Access control of a proxy: listen addresses, networks and tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import BadValue
from dfengine.proxy.front.access_control import AccessControl, Listen

HERE, ALL = Listen.parse("127.0.0.1:65001"), Listen.parse("0.0.0.0:65001")
TOKEN = "0123456789abcdef"


def test_listen_addresses_are_parsed_or_rejected() -> None:
    assert HERE.local
    assert Listen.parse("localhost:1") == Listen("127.0.0.1", 1)
    assert Listen.parse("[::1]:1").local
    assert Listen.parse("unix:/run/x") == Listen(path="/run/x")
    assert not ALL.local
    assert [str(Listen.parse(each)) for each in ("[::1]:1", "unix:/x", "1.2.3.4:5")] == ["[::1]:1", "unix:/x", "1.2.3.4:5"]
    for text in ("", ":1", "127.0.0.1", "127.0.0.1:99999", "x:1", "unix:x", "unix:/" + "x" * 200, "1.2.3:4", "[::1]", "1.2.3.4:1\n"):
        with pytest.raises(BadValue):
            Listen.parse(text)


def test_remote_clients_need_an_allowed_network_or_a_token() -> None:
    with pytest.raises(BadValue, match="--allow"):
        AccessControl((HERE, ALL), (), "")
    guard = AccessControl((ALL,), ("10.0.0.0/8", "fd00::/8"), "")
    assert all(map(guard.admits, ("127.0.0.1", "::1", "", "10.1.1.1", "::ffff:10.1.1.1", "fd00::1")))
    assert not any(map(guard.admits, ("11.1.1.1", "::ffff:11.1.1.1", "fe80::1")))
    assert not guard.refuses(None)


def test_token_authentication() -> None:
    guard = AccessControl((ALL,), (), TOKEN)
    assert guard.admits("11.1.1.1")
    assert not guard.refuses(TOKEN.encode())
    assert [guard.refuses(each) for each in (None, b"", b"0123456789abcde", TOKEN.encode() + b"0", b"\xff" * 16)] == [True] * 5
    for short in ("0123456789", "0123456789 abcdefgh"):
        with pytest.raises(BadValue):
            AccessControl((ALL,), (), short)
    with pytest.raises(BadValue):
        AccessControl((ALL,), ("10.0.0.0/40",), "")


def test_without_settings_only_local_clients_are_admitted() -> None:
    guard = AccessControl((HERE,), (), "")
    assert guard.admits("127.0.0.1")
    assert not guard.admits("10.0.0.1")


@given(st.text(max_size=30))
def test_any_text_is_a_listen_address_or_rejected(text: str) -> None:
    try:
        found = Listen.parse(text)
    except BadValue:
        return
    assert Listen.parse(str(found)) == found
