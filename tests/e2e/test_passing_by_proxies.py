"""Registries that the proxy reaches through another proxy, which its environment names."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest

from tests.e2e.certificates import Authority
from tests.e2e.proxies import Proxy
from tests.e2e.scene import Scene, free_port
from tests.e2e.upstream import Upstream, get, ok

NAME, ADDRESS = "registry.example", "192.0.2.7"
"""Host name of a registry that only the other proxy can resolve, and the address for proxies that resolve no names."""

KINDS = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


@pytest.fixture
def authority(stage: Scene) -> Authority:
    return Authority(stage.path)


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def registry() -> Iterator[Upstream]:
    with Upstream() as made:
        yield made


def kind_of(scheme: str, host: str, tunnel: bool) -> str:
    """The kind of a request as the stand-in reports it."""
    if scheme.startswith("socks5"):
        return "socks5 address" if host == ADDRESS else "socks5 name"
    if scheme.startswith("socks4"):
        return "socks4a" if scheme == "socks4a" and host != ADDRESS else "socks4"
    return "connect" if tunnel else "http"


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("scheme", KINDS)
def test_each_kind_of_parent_proxy(stage: Scene, authority: Authority, monkeypatch: pytest.MonkeyPatch, scheme: str, secure: bool) -> None:
    """Passed-on requests, the proxy's own requests to the registry and blobs use the other proxy."""
    host = ADDRESS if scheme in ("socks4", "socks5") else NAME
    context = None
    if secure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("registry", f"{'IP' if host == ADDRESS else 'DNS'}:{host}"))
    tls = authority.issue("proxy", "IP:127.0.0.1") if scheme == "https" else None
    password = "" if scheme.startswith("socks4") else "pass"
    with Upstream(context) as registry, Proxy({443 if secure else 80: registry.port}, "me", password, tls) as other:
        path = f"/v2/a/b/blobs/{registry.blob('a/b', b'a layer')}"
        tunnel = secure or scheme.startswith("socks")
        base = "" if tunnel else f"http://{host}"
        registry.scripts = {f"{base}{path}": registry.scripts[path], f"{base}/v2/a/b/tags/list": ok(b"tags")}
        userinfo = f"me:{password}" if password else "me"
        monkeypatch.setenv("https_proxy" if secure else "http_proxy", other.url(scheme, userinfo))
        mirror = stage.proxy("--registry", f"{'https' if secure else 'http'}://{host}", "--cacerts", authority.ca)[1]
        for _ in range(2):
            answer, body = get(mirror, "/v2/a/b/tags/list", Authorization="Bearer mine")
            assert (answer.status, body) == (200, b"tags"), body
        assert get(mirror, path)[1] == b"a layer"
        assert {asked[0] for asked in other.asked} == {kind_of(scheme, host, secure)}
        assert {asked[1] for asked in other.asked} == {host}
        assert "proxy-authorization" not in {name for asked in registry.asked for name in asked.fields} or not tunnel
        assert registry.asked[0].fields["authorization"] == "Bearer mine"
        assert registry.asked[0].fields["host"] == host


def test_no_proxy_loopback_and_errors_of_the_parent_proxy(stage: Scene, registry: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("--registry", f"http://{NAME}", "--registry", registry.url, "--registry", f"https://{NAME}:8443")
    with Proxy({80: registry.port}, "me", "s3cret") as other:
        monkeypatch.setenv("http_proxy", other.url("http", "me:wr0ng"))
        monkeypatch.setenv("https_proxy", other.url("http", "me:wr0ng"))
        mirror = stage.proxy(*options)[1]
        for place in (NAME, f"{NAME}:8443"):
            answer, body = get(mirror, f"/v2/a/tags/list?ns={place}")
            assert answer.status == 502
            assert b"407" in body or b"refuses the user" in body
            assert b"wr0ng" not in body
            assert not other.asked
        registry.scripts["/v2/a/tags/list"] = ok(b"tags")
        assert get(mirror, f"/v2/a/tags/list?ns={registry.url.partition('//')[2]}")[1] == b"tags", "loopback is connected to directly"
        monkeypatch.setenv("no_proxy", NAME)
        answer, body = get(stage.proxy(*options, host=3)[1], f"/v2/a/tags/list?ns={NAME}")
        assert answer.status == 502
        assert b"cannot be found" in body
        assert not other.asked


def test_denied_registries_are_not_requested_through_the_parent_proxy(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy({443: 9}) as other:
        monkeypatch.setenv("https_proxy", other.url("http"))
        mirror = stage.proxy("--registry", "https://known.example", "--origin-deny", ".secret.example")[1]
        for place in ("169.254.169.254", "2130706433", "0x7f.1", "[::ffff:7f00:1]", "a.secret.example", "0.0.0.0", "[::]"):
            assert get(mirror, f"/v2/a/tags/list?ns={place}")[0].status in (403, 404), place
        assert not other.asked
        itself = f"127.0.0.3:{free_port()}"
        monkeypatch.setenv("https_proxy", f"http://{itself}")
        again = stage.proxy("--registry", "https://known.example", "--listen", itself, host=3)[1]
        answer, body = get(again, "/v2/a/tags/list")
        assert answer.status == 403
        assert b"is this proxy itself" in body


@pytest.mark.parametrize("fault", ["refuse", "empty"])
def test_a_refused_tunnel_is_answered_with_502(stage: Scene, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    with Proxy({443: 9}, fault=fault) as other:
        for host, scheme in enumerate(("http", "socks5h", "socks4a"), 2):
            monkeypatch.setenv("https_proxy", other.url(scheme))
            answer, body = get(stage.proxy("--registry", f"https://{NAME}", host=host)[1], "/v2/a/tags/list")
            assert answer.status == 502
            assert f"{NAME}, by the proxy 127.0.0.1:{other.port}, cannot be reached".encode() in body
