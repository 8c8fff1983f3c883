"""Origins through every kind of proxy, with real processes: requests to the proxy, its credentials, and exceptions from its use."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.certificates import Authority
from tests.e2e.proxies import Proxy, TlsOrigin
from tests.e2e.scene import MIB, Scene

NAME = "files.test"
"""Host name of an origin that only a proxy can resolve (RFC 2606)."""

PLACE = "198.51.100.7"
"""Address of an origin that only a proxy can reach (RFC 5737)."""

SIZE = 3 * MIB

VARIABLES = ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")


@pytest.fixture
def environment(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Without proxies at the beginning, and again before the scene ends, as the test itself requests metrics of supernodes."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    yield monkeypatch
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


class Ways:
    """A file `file` behind http and https, at ports that proxies connect to for 80 and 443."""

    def __init__(self, stage: Scene) -> None:
        self.digest = stage.file("file", SIZE)
        plain = int(stage.origin().rpartition(":")[2])
        self.authority = Authority(stage.path)
        tls = TlsOrigin(stage, *self.authority.issue("origin", f"DNS:{NAME},IP:{PLACE}"))
        self.ports = {80: plain, 443: tls.port}
        self.cacerts = ("--cacerts", self.authority.ca, "--retry", "0")


KINDS = [
    ("socks4", PLACE, "socks4", PLACE),
    ("socks", PLACE, "socks4", PLACE),
    ("socks4a", NAME, "socks4a", NAME),
    ("socks5", PLACE, "socks5 address", PLACE),
    ("socks5h", NAME, "socks5 name", NAME),
    ("http", NAME, "http", NAME),
    ("https", NAME, "http", NAME),
]
"""Scheme, host of the URL, and kind and host of the request that the proxy receives."""


@pytest.mark.parametrize(("scheme", "host", "kind", "told"), KINDS, ids=[kind[0] for kind in KINDS])
def test_each_kind_of_proxy_alone_and_by_a_supernode(
    stage: Scene, environment: pytest.MonkeyPatch, scheme: str, host: str, kind: str, told: str
) -> None:
    ways = Ways(stage)
    certificate = ways.authority.issue("proxy", "IP:127.0.0.1") if scheme == "https" else None
    user, password = ("me", "" if "socks4" in kind else "p@ss word")
    with Proxy(ways.ports, user, password, certificate) as proxy:
        environment.setenv("all_proxy", proxy.url(scheme, "me" if "socks4" in kind else "me:p%40ss%20word"))
        environment.setenv("SSL_CERT_FILE", ways.authority.ca)
        node = stage.supernode("--origin-deny", "203.0.113.0/24")
        for at, url in enumerate((f"http://{host}/file", f"https://{host}/file")):
            tunnel = "connect" if url[4] == "s" and kind == "http" else kind
            stage.get(url, f"alone{at}", *ways.cacerts)
            assert {*proxy.asked} == {(tunnel, told, 443 if at else 80)}
            proxy.asked.clear()
            assert stage.get(url, f"swarm{at}", *ways.cacerts, "--notbs", host=3, nodes=(node,))["from"]["origin"] == 0
            assert {*proxy.asked} == {(tunnel, told, 443 if at else 80)}
            proxy.asked.clear()
            assert stage.digest(f"alone{at}") == stage.digest(f"swarm{at}") == ways.digest


REFUSED = [
    ("socks4", f"http://{PLACE}/file", {"other:wr0ng": "SOCKS4", "": "SOCKS4"}),
    ("socks4a", f"https://{NAME}/file", {"other:wr0ng": "SOCKS4", "": "SOCKS4"}),
    ("socks5", f"http://{PLACE}/file", {"me:wr0ng": "User was rejected by the SOCKS5 server", "": "No authentication method"}),
    ("socks5h", f"https://{NAME}/file", {"me:wr0ng": "User was rejected by the SOCKS5 server", "": "No authentication method"}),
    ("http", f"http://{NAME}/file", {"me:wr0ng": "407 Proxy Authentication Required", "": "407"}),
    ("http", f"https://{NAME}/file", {"me:wr0ng": "the proxy answers 407", "": "the proxy answers 407"}),
]


@pytest.mark.parametrize(("scheme", "url", "reasons"), REFUSED)
def test_a_proxys_refusal_of_the_user_is_reported_without_the_password(
    stage: Scene, environment: pytest.MonkeyPatch, scheme: str, url: str, reasons: dict[str, str]
) -> None:
    place = url.split("/")[2] + (":443" if url.startswith("https") else ":80")
    with Proxy({}, "me", "right") as proxy:
        for userinfo, reason in reasons.items():
            environment.setenv("all_proxy", proxy.url(scheme, userinfo))
            said = stage.get(url, "a", status=4)
            # A retry would fail alike and is not made; it would be reported in a line of its own.
            assert f"dfengine: {place}, by the proxy 127.0.0.1:{proxy.port}," in said
            assert reason in said
            assert said.count("\n") == 1
            node = stage.supernode()
            swarm = stage.get(url, "b", "--notbs", host=3, nodes=(node,), status=3)
            assert f"{place}, by the proxy 127.0.0.1:{proxy.port}," in swarm
            assert reason in swarm
            assert "wr0ng" not in said + swarm
        assert not proxy.asked


def test_a_proxys_refusal_of_the_origin_is_reported(stage: Scene, environment: pytest.MonkeyPatch) -> None:
    with Proxy({}, fault="refuse") as proxy:
        for scheme, reason in (("http", "the proxy answers 403"), ("socks5h", "it does not allow this"), ("socks4a", "SOCKS4")):
            environment.setenv("https_proxy", proxy.url(scheme))
            said = stage.get(f"https://{NAME}/file", "a", "--retry", "0", status=4)
            assert f"by the proxy 127.0.0.1:{proxy.port}, cannot be reached" in said
            assert reason.lower() in said.lower()


def test_a_proxys_response_to_connect_is_not_taken_for_the_file(stage: Scene, environment: pytest.MonkeyPatch) -> None:
    with Proxy({}, fault="empty") as proxy:
        environment.setenv("https_proxy", proxy.url("http"))
        said = stage.get(f"https://{NAME}/file", "a", "--retry", "0", status=4)
        assert f"{NAME}:443, by the proxy 127.0.0.1:{proxy.port}," in said
        assert not (stage.path / "a").exists()


def test_the_certificate_of_a_proxy_is_verified(stage: Scene, environment: pytest.MonkeyPatch) -> None:
    ways = Ways(stage)
    other = Authority(stage.path, "other")
    for at, pair in enumerate((other.issue("proxy", "IP:127.0.0.1"), ways.authority.issue("proxy", "IP:127.0.0.9"))):
        with Proxy(ways.ports, tls=pair) as proxy:
            environment.setenv("all_proxy", proxy.url("https"))
            for url in (f"http://{NAME}/file", f"https://{NAME}/file"):
                for flags in (("--cacerts", ways.authority.ca), ("--cacerts", ways.authority.ca, "--insecure")):
                    said = stage.get(url, "a", *flags, host=2 + at, status=4)
                    assert f"by the proxy 127.0.0.1:{proxy.port}: the proxy's certificate is not trusted" in said
            assert not proxy.asked
    with Proxy(ways.ports, tls=ways.authority.issue("proxy", "IP:127.0.0.1")) as proxy:
        environment.setenv("all_proxy", proxy.url("https"))
        stage.get(f"https://{NAME}/file", "b", "--cacerts", ways.authority.ca, "--insecure", host=4)
        assert stage.digest("b") == ways.digest


def test_hosts_of_no_proxy_and_loopback_are_connected_to_directly(stage: Scene, environment: pytest.MonkeyPatch) -> None:
    ways = Ways(stage)
    with Proxy(ways.ports) as proxy:
        for scheme in ("socks5h", "http"):
            environment.setenv("all_proxy", proxy.url(scheme))
            for exceptions, host in ((NAME, NAME), (".test", NAME), ("test", NAME), ("*", NAME), ("198.51.100.0/24", PLACE)):
                environment.setenv("no_proxy", exceptions)
                said = stage.get(f"http://{host}/file", "a", "--retry", "0", "--connect-timeout", "1", status=4)
                assert "by the proxy" not in said
            environment.setenv("no_proxy", "other.test")
            for host in ("127.0.0.1", "localhost", "127.1", "0x7f000001", "[::ffff:127.0.0.1]"):
                stage.get(f"http://{host}:{ways.ports[80]}/file", "b")
            assert not proxy.asked
            stage.get(f"http://{NAME}/file", "c")
            assert proxy.asked
            proxy.asked.clear()


def test_each_proxy_variable_applies_to_its_scheme(stage: Scene, environment: pytest.MonkeyPatch) -> None:
    ways = Ways(stage)
    with Proxy(ways.ports) as http, Proxy(ways.ports) as https, Proxy(ways.ports) as rest:
        environment.setenv("http_proxy", http.url("socks5h"))
        environment.setenv("https_proxy", https.url("socks4a"))
        environment.setenv("all_proxy", rest.url("http"))
        stage.get(f"http://{NAME}/file", "a")
        stage.get(f"https://{NAME}/file", "b", *ways.cacerts)
        assert ({kind for kind, *_ in http.asked}, {kind for kind, *_ in https.asked}) == ({"socks5 name"}, {"socks4a"})
        assert not rest.asked
        environment.delenv("https_proxy")
        stage.get(f"https://{NAME}/file", "c", *ways.cacerts)
        assert {kind for kind, *_ in rest.asked} == {"connect"}
        environment.setenv("http_proxy", "gopher://me:wr0ng@127.0.0.1:1")
        said = stage.get(f"http://{NAME}/file", "d", status=4)
        assert "the environment's proxy for http URLs is not SCHEME://HOST:PORT" in said
        assert "wr0ng" not in said


LISTED: list[tuple[str, str, list[str], bool]] = [
    ("socks5h", NAME, ["--origin-deny", NAME], False),
    ("socks5h", NAME, ["--origin-deny", ".test"], False),
    ("socks5h", NAME, ["--origin-deny", "other.test"], True),
    ("socks4a", NAME, ["--origin-allow", ".test"], True),
    ("socks4a", NAME, ["--origin-allow", "198.51.100.0/24"], False),
    ("http", NAME, ["--origin-allow", "other.test"], False),
    ("http", NAME, ["--origin-allow", NAME], True),
    ("http", PLACE, ["--origin-deny", "198.51.100.0/24"], False),
    ("socks5", PLACE, ["--origin-deny", "198.51.100.0/24"], False),
    ("socks5", PLACE, ["--origin-allow", "198.51.100.7"], True),
    ("socks4", PLACE, ["--origin-allow", "198.51.100.8"], False),
    ("socks4", PLACE, ["--origin-deny", "198.51.100.8"], True),
    ("socks5", "HERE", ["--origin-deny", "127.0.0.0/8", "--origin-deny", "::1"], False),
    ("socks5", "HERE", ["--origin-allow", "127.0.0.0/8"], True),
    ("socks5", "HERE", ["--origin-allow", "198.51.100.0/24"], False),
    ("socks4", "HERE", ["--origin-allow", "127.0.0.0/8"], True),
    ("socks5", "169.254.169.254", [], False),
    ("socks5h", "169.254.169.254", [], False),
    ("socks5", "0xa9fea9fe", [], False),
    ("socks5h", "0xa9fea9fe", [], False),
    ("socks5h", "%31%36%39.254.169.254", [], False),
    ("http", "%66iles.test", ["--origin-deny", NAME], False),
    ("http", "%66iles.test", ["--origin-allow", NAME], True),
    ("socks5", "[2001:db8::7]", ["--origin-deny", "2001:db8::8"], True),
    ("socks5", "[2001:db8::7]", ["--origin-deny", "2001:db8::/32"], False),
]


def here() -> str:
    """A name of this machine, other than localhost, that the resolver knows."""
    name = socket.gethostname()
    assert socket.gethostbyname(name), "the host's own name must be found: add it to /etc/hosts"
    return name


@pytest.mark.parametrize(("scheme", "host", "rules", "fetched"), LISTED)
def test_origin_allow_and_deny_apply_with_each_kind_of_proxy(
    stage: Scene, environment: pytest.MonkeyPatch, scheme: str, host: str, rules: list[str], fetched: bool
) -> None:
    stage.file("file", MIB)
    ports: dict[int, Any] = {80: int(stage.origin().rpartition(":")[2])}
    host = here() if host == "HERE" else host
    with Proxy(ports) as proxy:
        environment.setenv("all_proxy", proxy.url(scheme))
        node = stage.supernode(*rules)
        if fetched:
            stage.get(f"http://{host}/file", "a", "--notbs", nodes=(node,))
            assert len({told for _, told, _ in proxy.asked}) == 1
        else:
            assert "may not fetch from" in stage.get(f"http://{host}/file", "a", "--notbs", nodes=(node,), status=3)
            assert not proxy.asked
        by_name = "name" in {kind.partition(" ")[2] for kind, *_ in proxy.asked}
        assert not (by_name and scheme in ("socks4", "socks5")), "the proxy connects to the address that was checked"
