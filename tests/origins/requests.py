"""Requests that we send: headers are sent as given, and requirements of servers are met."""

from __future__ import annotations

import gzip

from tests.origins.answers import refuse, send_body, serve
from tests.origins.behaviour import SMALL, Behaviour, content
from tests.origins.redirects import AUTH
from tests.origins.server import Exchange, Script

A, B = content(SMALL, 1), content(SMALL, 2)


def only(name: str, *values: bytes) -> Script:
    """Serves requests with exactly these lines of that name."""
    return lambda x: serve(x) if x.request.all(name) == list(values) else refuse(x, "403 Forbidden")


def target(*wanted: str) -> Script:
    """Serves only these targets."""
    return lambda x: serve(x) if x.request.target in wanted else refuse(x, "404 Not Found")


def _virtual(x: Exchange) -> None:
    """The file depends on Host."""
    serve(x, file=B if x.request.get("host").endswith("b.test") else A)


def _by(name: str, value: str, vary: str) -> Script:
    """B for requests with this value, A for all others."""
    return lambda x: serve(x, file=B if x.request.get(name) == value else A, extra=(("Vary", vary),))


def _redirect_by_language(x: Exchange) -> None:
    """The redirect depends on the language, the file at its target does not."""
    if x.request.path in ("/fr", "/en"):
        return serve(x, file=B if x.request.path == "/fr" else A)
    there = "/fr" if x.request.get("accept-language") == "fr" else "/en"
    return refuse(x, "302 Found", (("Location", there), ("Vary", "Accept-Language")))


def _insists(name: str) -> Script:
    return lambda x: serve(x) if x.request.get(name) else refuse(x, "406 Not Acceptable")


def _packs(x: Exchange) -> None:
    """Compresses for clients that accept gzip."""
    if "gzip" in x.request.get("accept-encoding"):
        send_body(x, "200 OK", (("Content-Encoding", "gzip"),), gzip.compress(x.file, 1))
    else:
        serve(x)


def _no_second_host(x: Exchange) -> None:
    if len(x.request.all("host")) == 1:
        _virtual(x)
    else:
        refuse(x, "400 Bad Request")


REQUESTS = (
    Behaviour("host-given", _no_second_host, versions=(A, B), headers=("Host: b.test",)),
    Behaviour("host-given-in-other-letters", _no_second_host, versions=(A, B), headers=("hOST: b.test",)),
    Behaviour("two-virtual-hosts", _no_second_host, versions=(A, B), headers=("Host: a.test",), then=("Host: b.test",)),
    Behaviour("host-and-without", _no_second_host, versions=(A, B), headers=("Host: b.test",), then=("X-None: 1",)),
    Behaviour("header-given", only("x-token", b"a b"), headers=("X-Token: a b",)),
    Behaviour("header-twice", only("x-token", b"one", b"two"), headers=("X-Token: one", "X-Token: two")),
    Behaviour("header-twice-in-other-letters", only("x-token", b"one", b"two"), headers=("X-Token: one", "x-token: two")),
    Behaviour("header-utf-8", only("x-name", "été".encode()), headers=("X-Name: été",)),
    Behaviour("header-long", only("x-token", b"t" * 7000), headers=("X-Token: " + "t" * 7000,)),
    *(
        Behaviour(f"vary-{name}-{vary}".lower().replace(", ", "-").replace("*", "all"), _by(name.lower(), "fr", vary), versions=(A, B),
                  headers=(f"{name}: fr",), then=(f"{name}: en",))
        for name, vary in (
            ("Accept-Language", "Accept-Language"), ("Accept-Language", "accept-encoding, ACCEPT-LANGUAGE"), ("User-Agent", "User-Agent"),
            ("Origin", "Origin"), ("Accept", "*"), ("Sec-CH-UA", "Sec-CH-UA"),
        )
    ),
    Behaviour("vary-and-without", _by("accept", "fr", "Accept"), versions=(A, B), headers=("X-None: 1",), then=("Accept: fr", "X-None: 1")),
    Behaviour("vary-by-the-redirect", _redirect_by_language, versions=(A, B), headers=("Accept-Language: fr",),
              then=("Accept-Language: en",)),
    Behaviour("user-agent", only("user-agent", b"mine/1.0"), headers=("User-Agent: mine/1.0",)),
    Behaviour("user-agent-lower-case", only("user-agent", b"mine/1.0"), headers=("user-agent: mine/1.0",)),
    Behaviour("user-agent-capitals", only("user-agent", b"mine/1.0"), headers=("USER-AGENT: mine/1.0",)),
    Behaviour("insists-on-user-agent", _insists("user-agent")),
    Behaviour("insists-on-accept", _insists("accept")),
    Behaviour("insists-on-host", _insists("host")),
    Behaviour("packs-for-who-accepts", _packs),
    Behaviour("authorization", only("authorization", AUTH), headers=("Authorization: Basic dXNlcjpwYXNz",)),
    Behaviour("userinfo", only("authorization", AUTH), url="user:pass@{address}/file"),
    Behaviour("userinfo-escaped", only("authorization", b"Basic dUB4OnA6L8Op"), url="u%40x:p%3A%2F%C3%A9@{address}/file"),
    Behaviour("userinfo-no-password", only("authorization", b"Basic dXNlcjo="), url="user@{address}/file"),
    Behaviour("query-verbatim", target("/file?sig=a%2Fb+c==&x=%E9&e=1;2"), url="{address}/file?sig=a%2Fb+c==&x=%E9&e=1;2"),
    Behaviour("query-without-path", target("/?file=1"), url="{address}?file=1"),
    Behaviour("path-utf-8", target("/\xc3\xa9t\xc3\xa9", "/%C3%A9t%C3%A9", "/%c3%a9t%c3%a9"), url="{address}/été"),
    Behaviour("path-escaped", target("/%C3%A9%2Fx%20y"), url="{address}/%C3%A9%2Fx%20y"),
    Behaviour("path-with-dots", target("/file"), url="{address}/a/../b/./../file"),
    Behaviour("path-with-signs", target("/a'(b)!$&,;=:@~*c"), url="{address}/a'(b)!$&,;=:@~*c"),
    Behaviour("path-and-query-raw", target("/a[1]{b}|c^`?f[x]=<1>|{2}^`\"\\"), url="{address}/a[1]{{b}}|c^`?f[x]=<1>|{{2}}^`\"\\"),
    Behaviour("fragment", target("/file"), url="{address}/file#part"),
    Behaviour("host-by-name", serve, url="localhost:{port}/file"),
)
