"""The proxy that requests to an origin use."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.about import VERSION
from dfengine.errors import OriginForbidden, OriginUnreachable
from dfengine.net.origin_access import OriginAccess
from dfengine.origin.cancel import Cancel
from dfengine.origin.environment_proxy import SCHEMES, Proxy, proxy_for
from dfengine.origin.http import HttpOrigin

HERE = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("scheme", "environment", "port"),
    [
        ("http", {"http_proxy": "http://p:1"}, 1),
        ("http", {"HTTP_PROXY": "http://p:1"}, None),  # a CGI server sets it from a visitor's header
        ("http", {"https_proxy": "http://p:1"}, None),
        ("https", {"http_proxy": "http://p:1"}, None),
        ("https", {"https_proxy": "http://p:1", "HTTPS_PROXY": "http://p:2"}, 1),
        ("https", {"HTTPS_PROXY": "http://p:2"}, 2),
        ("https", {"all_proxy": "http://p:3"}, 3),
        ("http", {"ALL_PROXY": "http://p:4", "http_proxy": ""}, 4),
        ("http", {"http_proxy": "p:5"}, 5),
        ("http", {"http_proxy": "p"}, 1080),
        ("http", {"http_proxy": " http://p:6/ "}, 6),
        ("http", {}, None),
    ],
)
def test_the_proxy_is_read_from_the_environment_variables(scheme: str, environment: dict[str, str], port: int | None) -> None:
    found = proxy_for(scheme, "files.example", 80, environment)
    assert (found and found.port) == port
    assert found is None or found == Proxy("http", "p", port or 0)


@pytest.mark.parametrize(
    ("host", "exceptions", "direct"),
    [
        ("files.example", "", False),
        ("files.example", "*", True),
        ("files.example", "files.example", True),
        ("FILES.example.", "other, Files.Example", True),
        ("files.example", "example", True),
        ("files.example", ".example", True),
        ("myfiles.example", "files.example", False),
        ("files.example", "files.example:8080", False),
        ("files.example", "files.example:80 x", True),
        ("files.example", "iles.example", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.1.2.3:80", True),
        ("10.1.2.3", "10.1.2.3:81,11.0.0.0/8", False),
        ("10.1.2.3", "2.3", False),
        ("2001:db8::1", "[2001:db8::]/32,[2001:db8::1]", True),
        ("2001:db8::1", "[2001:db8::1]:80", True),
        ("2001:db8::1", "2001:db8::/32", True),
        ("2001:db8::1", "2001:db8::2", False),
        ("localhost", "", True),
        ("127.3.2.1", "", True),
        ("::1", "", True),
        ("files.example", ", ,:80,.,[,::", False),
    ],
)
def test_no_proxy_exceptions_are_requested_directly(host: str, exceptions: str, direct: bool) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        assert (proxy_for("http", host, 80, {"http_proxy": HERE, name: exceptions}) is None) == direct
    assert proxy_for("http", "files.example", 80, {"http_proxy": HERE, "no_proxy": "other", "NO_PROXY": "*"}) is not None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://p", Proxy("https", "p", 443)),
        ("https://p:1", Proxy("https", "p", 1)),
        ("socks4://p", Proxy("socks4", "p", 1080)),
        ("SOCKS4A://P:2", Proxy("socks4a", "p", 2)),
        ("socks5://p:0", Proxy("socks5", "p", 0)),
        ("socks5h://u@p", Proxy("socks5h", "p", 1080, b"u")),
        ("http://us%65r:p%40ss:w%FFrd@[::2]:8080", Proxy("http", "::2", 8080, b"user", b"p@ss:w\xffrd")),
        ("a:b@c@p", Proxy("http", "p", 1080, b"a", b"b@c")),
    ],
)
def test_a_proxys_kind_address_and_user_are_parsed(text: str, found: Proxy) -> None:
    assert proxy_for("https", "files.example", 443, {"all_proxy": text}) == found


def test_kinds_of_proxies_differ_in_tunnels_and_name_resolution() -> None:
    kinds = {scheme: Proxy(scheme, "::2" if scheme == "http" else "p", 1, b"u", b"secret") for scheme in SCHEMES}
    assert {scheme for scheme, each in kinds.items() if each.tunnels} == {"socks4", "socks4a", "socks5", "socks5h"}
    assert {scheme for scheme, each in kinds.items() if each.resolves_names} == {"http", "https", "socks4a", "socks5h"}
    assert kinds["http"].url == "http://[::2]:1"
    assert kinds["socks5h"].url == "socks5h://p:1", "credentials are passed by separate options"


@pytest.mark.parametrize("text", ["socks6://p:1", "ftp://p:1", "http://", "http://p:x", "http://p:70000", "p q", "http://p\r\nX: y", "http://[p"])
def test_an_invalid_proxy_is_refused_without_quoting_its_password(text: str) -> None:
    with pytest.raises(OriginUnreachable, match="environment's proxy for http URLs is not SCHEME://HOST:PORT") as refused:
        proxy_for("http", "files.example", 80, {"http_proxy": text})
    assert refused.value.final
    with pytest.raises(OriginUnreachable) as error:
        proxy_for("http", "files.example", 80, {"http_proxy": "socks6://me:s3cret@p:1"})
    assert "s3cret" not in str(error.value)


@given(st.text(), st.text(), st.text())
def test_arbitrary_variables_are_parsed_or_refused(proxy: str, exceptions: str, host: str) -> None:
    try:
        found = proxy_for("https", host, 443, {"https_proxy": proxy, "no_proxy": exceptions})
    except OriginUnreachable:
        return
    if found is not None:
        assert found.scheme in SCHEMES
        assert 0 <= found.port < 65536
        assert found.host
        assert not re.search(r"[\0-\x20\x7f]", found.url)


@contextmanager
def proxy(monkeypatch: pytest.MonkeyPatch, *answers: bytes) -> Iterator[list[bytes]]:
    """A proxy that sends each connection the next response. Yields the bytes it received."""
    listener, heard = socket.create_server(("127.0.0.1", 0)), []

    def serve() -> None:
        for answer in answers:
            with listener.accept()[0] as sock:
                heard.append(sock.recv(1 << 16))
                sock.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://me:secret@127.0.0.1:{listener.getsockname()[1]}")
    try:
        yield heard
    finally:
        thread.join()
        listener.close()


def test_the_whole_url_and_the_proxys_password_are_sent_only_to_the_proxy(monkeypatch: pytest.MonkeyPatch, cancel: Cancel) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://[2001:db8::7]:81/b?c\r\nContent-Length: 0\r\n\r\n"
    with proxy(monkeypatch, moved, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi") as heard:
        body = HttpOrigin("http://u:p@bücher.example/a%20b", [("X-Token", "t")], cancel=cancel).open()
        assert (body.length, body.read_into(memoryview(bytearray(2)))) == (2, 2)
        body.close()
    first, second = (message.decode().splitlines() for message in heard)
    assert (first[0], second[0]) == ("GET http://xn--bcher-kva.example/a%20b HTTP/1.1", "GET http://[2001:db8::7]:81/b?c HTTP/1.1")
    assert {"Host: xn--bcher-kva.example", "X-Token: t", "Authorization: Basic dTpw", "Proxy-Authorization: Basic bWU6c2VjcmV0"} <= {*first}
    assert {"Host: [2001:db8::7]:81", "Proxy-Authorization: Basic bWU6c2VjcmV0"} <= {*second}
    assert not any(line.startswith(("X-Token", "Authorization")) for line in second)


def test_a_refused_tunnels_error_names_the_proxy_without_its_password(monkeypatch: pytest.MonkeyPatch, cancel: Cancel) -> None:
    refused = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"
    said = r"files\.example:444, by the proxy 127.* cannot be reached: .*407"
    with proxy(monkeypatch, refused) as heard, pytest.raises(OriginUnreachable, match=said) as error:
        HttpOrigin("https://files.example:444/f", cancel=cancel).open()
    assert heard[0].startswith(b"CONNECT files.example:444 HTTP/1.")
    assert b"Basic bWU6c2VjcmV0" in heard[0]
    assert f"User-Agent: dfengine/{VERSION}\r\n".encode() in heard[0]
    assert "secret" not in str(error.value)
    assert error.value.final


@pytest.mark.parametrize("length", [b"", b"Content-Length: 0\r\n"])
@pytest.mark.parametrize("status", [b"200 OK", b"302 Found", b"503 Busy", b"206 Partial Content"])
def test_a_proxys_response_to_connect_is_not_taken_for_the_origins(
    monkeypatch: pytest.MonkeyPatch, status: bytes, length: bytes, cancel: Cancel
) -> None:
    """No redirect is followed and no empty file accepted, although the response to CONNECT resembles one."""
    answer = b"HTTP/1.1 " + status + b"\r\n" + length + b"Location: http://127.0.0.1:9/x\r\n\r\n"
    with proxy(monkeypatch, answer), pytest.raises(OriginUnreachable, match=r"by the proxy 127.* cannot be reached") as error:
        HttpOrigin("https://files.example/f", cancel=cancel).open()
    assert error.value.final == (status[:1] == b"3"), "a busy proxy may respond later"


@pytest.mark.parametrize(
    ("url", "allow", "deny"),
    [
        ("http://169.254.169.254/x", [], []),
        ("http://169.254.169.254./x", [], []),
        ("http://2852039166/x", [], []),
        ("http://0xa9fea9fe/x", [], []),
        ("http://0251.254.43518/x", [], []),
        ("http://\uff11\uff16\uff19.254.169.254/x", [], []),
        ("http://[fe80::1%25eth0]/x", [], []),
        ("http://[::ffff:169.254.169.254]/x", ["0.0.0.0/0"], []),
        ("http://files.example/x", [], [".example"]),
        ("http://files.example/x", ["10.0.0.0/8"], []),
        ("http://files.example/x", ["other.example"], []),
        ("http://10.1.2.3/x", ["files.example"], []),
        ("http://10.1.2.3/x", [], ["10.0.0.0/8"]),
    ],
)
def test_forbidden_addresses_are_not_requested_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, url: str, allow: list[str], deny: list[str], cancel: Cancel
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(OriginForbidden):
        HttpOrigin(url, cancel=cancel, access=OriginAccess(allow, deny)).open()


@pytest.mark.parametrize(
    ("url", "allow", "deny"),
    [("http://files.example/x", ["files.example", "10.0.0.0/8"], ["evil.example"]), ("http://10.1.2.3/x", ["10.0.0.0/8"], [])],
)
def test_allowed_addresses_are_requested_through_the_proxy(
    monkeypatch: pytest.MonkeyPatch, url: str, allow: list[str], deny: list[str], cancel: Cancel
) -> None:
    with proxy(monkeypatch, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") as heard, pytest.raises(Exception, match="404"):
        HttpOrigin(url, cancel=cancel, access=OriginAccess(allow, deny)).open()
    assert heard[0].startswith(f"GET {url} ".encode())
