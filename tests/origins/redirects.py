"""Redirects: forms of Location, their number, and headers that may be sent to another place."""

from __future__ import annotations

from tests.origins.answers import Headers, refuse, say, serve
from tests.origins.behaviour import Behaviour, Fails, content
from tests.origins.cuts import ONCE
from tests.origins.server import Exchange, Script, Server

AUTH = b"Basic dXNlcjpwYXNz"
"""user:pass"""

REDIRECT = ("redirect", "location", "310", "hops")
NOT_OURS = "what it delivers is no file of this origin"


def to(location: str, path: str = "/real", status: str = "302 Found", auth: bool = False, extra: Headers = ()) -> Script:
    """/file redirects to `location`, and the file is only at `path` (as the client requests it); `auth`: only with credentials."""

    def script(x: Exchange) -> None:
        asked = x.request.target.removeprefix("http://origin.test:80").removeprefix("http://origin.test").removeprefix("http://ORIGIN.test")
        if asked == "/file":
            other = x.server.other.address if x.server.other else ""
            where = location.format(address=x.server.address, port=x.server.port, other=other)
            say(x, status, b"it is there: " + b"." * 3000, (("Location", where), *extra))
        elif asked != path:
            refuse(x, "404 Not Found")
        elif auth and x.request.all("authorization") != [AUTH]:
            refuse(x, "401 Unauthorized")
        else:
            serve(x)

    return script


def chain(length: int) -> Script:
    """/file, /1, /2 and so on, and the file at the end."""

    def script(x: Exchange) -> None:
        at = 0 if x.request.path == "/file" else int(x.request.path[1:])
        if at == length:
            serve(x)
        else:
            say(x, "302 Found", b"", (("Location", f"/{at + 1}"),))

    return script


def _private(server: Server) -> str:
    """Complaint if the second server was sent credentials, or no request."""
    assert server.other is not None
    for request in server.other.log:
        for name in ("authorization", "cookie", "proxy-authorization"):
            if request.get(name):
                return f"{name} was sent to another host"
    return "" if server.other.log else "the second server was not asked"


def _not_asked(server: Server) -> str:
    assert server.other is not None
    return "the second server was asked" if server.other.log else ""


def _no_location(x: Exchange) -> None:
    say(x, "302 Found", b"no place is named\n")


HERE = "http://{address}/real"
USER = "user:pass@{address}/file"
PROXY = (("http_proxy", "http://{address}"),)
SECRETS = ("Authorization: Basic dXNlcjpwYXNz", "Cookie: session=secret")

REDIRECTS = (
    *(Behaviour(f"redirect-{status[:3]}", to("/real", status=status)) for status in (
        "301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect")),
    Behaviour("redirect-absolute", to(HERE)),
    Behaviour("redirect-relative", to("real")),
    Behaviour("redirect-relative-dots", to("../x/./../real"), url="{address}/file"),
    Behaviour("redirect-protocol-relative", to("//{address}/real")),
    Behaviour("redirect-query-only", to("?signed=1", "/file?signed=1")),
    Behaviour("redirect-blank", to("/a real file", "/a%20real%20file")),
    Behaviour("redirect-blanks-around", to("  /real  ")),
    Behaviour("redirect-blank-in-query", to("/real?name=a b", "/real?name=a+b")),
    Behaviour("redirect-utf-8", to("/\xc3\xa9t\xc3\xa9", "/%c3%a9t%c3%a9")),
    Behaviour("redirect-latin-1", to("/\xe9t\xe9", "/%e9t%e9")),
    Behaviour("redirect-escaped", to("/%C3%A9%20%2F+x", "/%C3%A9%20%2F+x")),
    Behaviour("redirect-signed-query", to("/real?sig=a%2Fb%2B==&e='(x)'", "/real?sig=a%2Fb%2B==&e='(x)'")),
    Behaviour("redirect-fragment", to("/real#part")),
    Behaviour("redirect-scheme-in-capitals", to("HTTP://{address}/real")),
    Behaviour("redirect-12-times", chain(12)),
    Behaviour("redirect-40-times", chain(40)),
    Behaviour("redirect-60-times", chain(60), Fails(4, REDIRECT)),
    Behaviour("redirect-loop", lambda x: say(x, "302 Found", b"", (("Location", "/file"),)), Fails(4, REDIRECT)),
    Behaviour("redirect-nowhere", _no_location, Fails(4, ("302", *REDIRECT), NOT_OURS)),
    Behaviour("redirect-to-404", to("/gone"), Fails(4, ("404",))),
    *(
        Behaviour(f"redirect-to-{name}", to(location), Fails(4, REDIRECT))
        for name, location in {
            "half-a-bracket": "http://[::1", "a-bracket": "//[", "a-bracket-behind": "http://a]b/", "port-0": "http://h:0/",
            "a-name-too-long": "http://" + "\xc3\xa9" * 90 + "/", "a-slash-in-disguise": "http://a\xe2\x84\x80b/",
        }.items()
    ),
    Behaviour("redirect-to-file-scheme", to("file:///etc/hostname"), Fails(4, REDIRECT)),
    Behaviour("redirect-to-ftp", to("ftp://{other}/real"), Fails(4, REDIRECT), other=serve, curl=("-m", "1"), check=_not_asked),
    Behaviour("redirect-to-gopher", to("gopher://{other}/real"), Fails(4, REDIRECT), other=serve, check=_not_asked),
    Behaviour("redirect-to-a-closed-port", to("http://127.0.0.1:1/real"), Fails(4, ("refused",), named=False), options=ONCE),
    Behaviour("redirect-to-another-host", to("http://{other}/real"), other=serve),
    Behaviour("redirect-to-another-host-with-credentials", to("http://{other}/real"), other=serve, headers=SECRETS, check=_private),
    Behaviour("redirect-to-another-host-with-userinfo", to("http://{other}/real"), other=serve, url=USER, check=_private),
    Behaviour("redirect-protocol-relative-to-another-host", to("//{other}/real"), other=serve, headers=SECRETS, check=_private),
    Behaviour("redirect-userinfo-kept-absolute", to(HERE, auth=True), url=USER),
    Behaviour("redirect-userinfo-kept-relative", to("real", auth=True), url=USER),
    Behaviour("redirect-userinfo-in-location", to("http://user:pass@{address}/real", auth=True)),
    Behaviour("redirect-header-kept-relative", to("/real", auth=True), headers=SECRETS[:1]),
    Behaviour("redirect-header-kept-absolute", to(HERE, auth=True), headers=SECRETS[:1]),
    Behaviour("redirect-host-in-other-letters", to("http://LOCALHOST:{port}/real", auth=True), url="localhost:{port}/file",
        headers=SECRETS[:1]),
    Behaviour("redirect-host-in-other-letters-userinfo", to("http://LocalHost:{port}/real", auth=True),
        url="user:pass@localhost:{port}/file"),
    Behaviour("redirect-default-port-spelled-out", to("http://origin.test:80/real", auth=True), url="origin.test/file",
        headers=SECRETS[:1], env=PROXY),
    Behaviour("redirect-default-port-left-out", to("http://origin.test/real", auth=True), url="origin.test:80/file", headers=SECRETS[:1],
        env=PROXY),
    Behaviour("redirect-by-proxy-other-letters", to("http://ORIGIN.test/real", auth=True), url="user:pass@origin.test/file", env=PROXY),
    Behaviour("redirect-body-chunked", lambda x: serve(x) if x.request.path == "/real" else x.send(
        b"HTTP/1.1 302 Found\r\nLocation: /real\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n")),
    Behaviour("redirect-big-file", to("/real"), versions=(content(9_000_000, 3),)),
    Behaviour("redirect-each-range", to("/real"), versions=(content(13_000_000, 3), )),
)
