"""Responses of a proxy of the environment to the opening of a tunnel."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dfengine.errors import OriginUnreachable
from dfengine.origin.environment_proxy import Proxy
from dfengine.proxy.upstream.tunnel import TunnelOpening

CONNECTED = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"
SOCKS4 = b"\0\x5a\0\0\0\0\0\0"
SOCKS5 = b"\5\0" + b"\5\0\0\1\0\0\0\0\0\0"
PROXIES = {scheme: Proxy(scheme, "proxy", 1080) for scheme in ("http", "socks4a", "socks5h")}


class Sent:
    """A transport that stores the written bytes."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


def opened(proxy: Proxy, *answers: bytes, host: str = "registry.example", lost: bool = True) -> bytes:
    """Return the bytes sent to a proxy that answers with `answers` and closes. Raises OriginUnreachable."""

    async def run() -> bytes:
        opening, sent = TunnelOpening(), Sent()
        made: Any = sent
        opening.connection_made(made)
        task = asyncio.ensure_future(opening.open(proxy, host, 443))
        for answer in answers:
            await asyncio.sleep(0)
            opening.data_received(answer)
        if lost:
            for _ in range(8):
                await asyncio.sleep(0)
            opening.connection_lost(None)
        await asyncio.wait_for(task, 20)
        return sent.data

    return asyncio.run(run())


def test_requests_to_open_a_tunnel_by_http_and_socks() -> None:
    assert opened(PROXIES["http"], CONNECTED) == b"CONNECT registry.example:443 HTTP/1.1\r\nHost: registry.example:443\r\n\r\n"
    assert opened(PROXIES["http"], CONNECTED, host="2001:db8::1").startswith(b"CONNECT [2001:db8::1]:443 ")
    user = Proxy("http", "proxy", 1080, b"me", b"pass")
    assert b"\r\nProxy-Authorization: Basic bWU6cGFzcw==\r\n" in opened(user, CONNECTED)
    assert opened(PROXIES["socks4a"], SOCKS4) == b"\4\1\1\xbb\0\0\0\1\0registry.example\0"
    assert opened(Proxy("socks4", "p", 1, b"me"), SOCKS4, host="192.0.2.1") == b"\4\1\1\xbb\xc0\0\2\1me\0"
    assert opened(PROXIES["socks5h"], SOCKS5) == b"\5\1\0" + b"\5\1\0\3\x10registry.example\1\xbb"
    told = opened(Proxy("socks5", "p", 1, b"me", b"pass"), b"\5\2", b"\1\0", SOCKS5[2:], host="192.0.2.1")
    assert told == b"\5\2\0\2" + b"\1\2me\4pass" + b"\5\1\0\1\xc0\0\2\1\1\xbb"
    assert opened(PROXIES["socks5h"], b"\5\0", b"\5\0\0\3\4name\0\0").endswith(b"\1\xbb")


@pytest.mark.parametrize(("scheme", "answer"), [
    ("http", b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"), ("http", CONNECTED + b"early"), ("http", b"SSH-2.0-x\r\n\r\n"),
    ("http", b"x" * 100000), ("http", b"HTTP/1.1 200 OK\r\n"), ("socks4a", b"\0\x5b" + bytes(6)), ("socks4a", SOCKS4[:7]),
    ("socks5h", b"\5\xff"), ("socks5h", b"\4\0"), ("socks5h", b"\5\2"), ("socks5h", b"\5\0\5\2\0\1" + bytes(6)),
    ("socks5h", b"\5\0\5\0\0\7" + bytes(300)), ("socks5h", b"\5\0\4\0\0\1" + bytes(6)), ("socks5h", SOCKS5 + b"x"), ("socks5h", b""),
])  # fmt: skip
def test_refusals_and_malformed_responses_open_no_tunnel(scheme: str, answer: bytes) -> None:
    with pytest.raises(OriginUnreachable):
        opened(PROXIES[scheme], answer)


@given(st.sampled_from(sorted(PROXIES)), st.lists(st.binary(max_size=40), max_size=6))
@example("http", [CONNECTED[:20], CONNECTED[20:]])
@example("socks4a", [SOCKS4[:3], SOCKS4[3:]])
@example("socks5h", [SOCKS5[:1], SOCKS5[1:]])
def test_any_response_opens_the_tunnel_or_is_refused(scheme: str, answers: list[bytes]) -> None:
    try:
        opened(PROXIES[scheme], *answers)
    except OriginUnreachable:
        return
    whole = b"".join(answers)
    assert whole.startswith({"http": b"HTTP/1.", "socks4a": whole[:1] + b"\x5a", "socks5h": b"\5\0\5\0"}[scheme])
