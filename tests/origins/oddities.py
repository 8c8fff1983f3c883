"""Servers whose oddities are in no other table."""

from __future__ import annotations

from tests.origins.answers import Headers, chunked, etag_of, head, honest, http_date, refuse, say, send_body, serve
from tests.origins.behaviour import BIG, SLOW_ENOUGH, SMALL, Behaviour, Delivers, Expectation, Fails, OneVersion, Same, content
from tests.origins.cuts import CUT, ONCE
from tests.origins.heads import END, HEAD, LENGTH, top
from tests.origins.server import Exchange, Script

FILE = content(SMALL)
A, B = content(BIG, 1), content(BIG, 2)
VERSIONS = (A, B)


def written(say: str) -> Script:
    """Content-Range written as `say` with {first}, {last}, {total}; otherwise a correct server."""
    def content_range(first: int, last: int, total: int) -> tuple[str, int, int]:
        return say.format(first=first, last=last, total=total), first, last

    return lambda x: serve(x, content_range=content_range, rate=0 if x.n else SLOW_ENOUGH)


def ok_with_range(plain: bool, framing: str = "length") -> Script:
    """200 with a Content-Range: as response to a range with the part's bytes, or with the whole file; `plain`: to a plain GET as well."""

    def script(x: Exchange) -> None:
        span = x.request.range(len(x.file))
        if not span and plain:
            given = (("Content-Range", honest(0, 99_999, len(x.file))[0]), ("ETag", etag_of(x.file)))
            return send_body(x, "200 OK", given, x.file[:100_000], framing=framing)
        if not span:
            return serve(x, rate=SLOW_ENOUGH)
        first, last = span
        return send_body(x, "200 OK", (("Content-Range", honest(first, last, len(x.file))[0]), ("ETag", etag_of(x.file))),
                         x.file[first : last + 1], framing=framing)

    return script


def _ok_range_of_whole(x: Exchange) -> None:
    """200, the whole file, and a Content-Range of the whole file."""
    serve(x, ranges=False, extra=(("Content-Range", f"bytes 0-{len(x.file) - 1}/{len(x.file)}"),))


def in_turn(*scripts: Script) -> Script:
    """Use the scripts one after the other; the last one for all further requests."""
    return lambda x: scripts[min(x.n, len(scripts) - 1)](x)


def _elsewhere(x: Exchange) -> None:
    """Each request is redirected to another place with another version: a resumed part must not have bytes of another version."""
    if x.request.path == "/file":
        return say(x, "302 Found", b"", (("Location", f"/{x.n % 2}?{x.n}"),))
    odd = x.request.path == "/1"
    return serve(x, file=B if odd else A, etag='"b"' if odd else '"a"', modified="", rate=SLOW_ENOUGH if x.n < 2 else 0,
                 if_range=x.n % 3 == 0)


def _to_login(x: Exchange) -> None:
    """All but the first request are redirected to a login page."""
    if x.request.path == "/login":
        return say(x, "200 OK", b"<html>Please log in</html>" * 400)
    if x.n:
        return say(x, "302 Found", b"", (("Location", "/login"),))
    return serve(x, rate=SLOW_ENOUGH)


def _lying_416(total: str, real: bool = True) -> Script:
    def script(x: Exchange) -> None:
        span = x.request.range(BIG)
        if span and span[0]:
            refuse(x, "416 Range Not Satisfiable", (("Content-Range", f"bytes */{total}"),))
        else:
            serve(x, cut=-1 if x.n > 2 else BIG // 2, rate=0 if x.n else SLOW_ENOUGH)

    return script


def _flood(interim: bytes, count: int) -> Script:
    def script(x: Exchange) -> None:
        for _ in range(count):
            x.send(interim * 50)
        serve(x)

    return script


def _reset_behind(x: Exchange) -> None:
    """The whole body, and then a reset in place of an end."""
    x.send(head("200 OK", (("Content-Length", str(len(x.file))), ("ETag", etag_of(x.file)))))
    x.body(x.file)
    x.pause(0.3)
    x.rst()


def _reset_unframed(x: Exchange) -> None:
    """A reset where only the end of the connection shows that the file is complete."""
    x.send(head("200 OK", (("Server", "odd"),)))
    x.body(x.file)
    x.pause(0.3)
    x.rst()


def _endless_extension(x: Exchange) -> None:
    x.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;")
    for _ in range(2000):
        x.send(b"x" * 5000)
    x.fin()


def _endless_trailers(x: Exchange) -> None:
    x.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(x.file)[:-2])
    for n in range(20_000):
        x.send(b"X-%d: %s\r\n" % (n, b"v" * 1000))
    x.fin()


def _no_bytes_for_a_while(x: Exchange) -> None:
    """Long without content: chunks of one byte each."""
    x.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(x.file[:3000], 1)[:-5] + chunked(x.file[3000:]))


def _case(x: Exchange) -> None:
    """Two versions whose entity-tags differ only by the case of a letter."""
    odd = x.n > 0
    serve(x, file=B if odd else A, etag='"abcdef"' if odd else '"abcDEF"', modified="", if_range=False, rate=0 if odd else SLOW_ENOUGH)


def _future(x: Exchange) -> None:
    """The file was changed in the future, twice within that second."""
    serve(x, file=B if x.n else A, etag="", modified=http_date(3e8)[:17] + "00:00:00 GMT", if_range=False, rate=0 if x.n else SLOW_ENOUGH)


def _early_clock(x: Exchange) -> None:
    """A Date before the Last-Modified: the server's clock is useless."""
    serve(x, file=B if x.n else A, etag="", modified="Wed, 01 Jan 2020 00:00:00 GMT", if_range=False, rate=0 if x.n else SLOW_ENOUGH,
          extra=(("Date", "Wed, 01 Jan 2020 00:00:00 GMT"),))


def _packed_ranges(x: Exchange) -> None:
    """Ranges have another coding than the whole file: they are of the compressed bytes."""
    serve(x, file=B if x.request.range(BIG) else A, etag='"one"', modified="", rate=0 if x.n else SLOW_ENOUGH,
          extra=(("Content-Encoding", "gzip"),) if x.request.range(BIG) else ())


def tagged(etag: str) -> Script:
    """This entity-tag; ranges are served if it matches exactly, and each connection is cut."""
    return lambda x: serve(x, etag=etag, modified="", cut=3_000_000)


def status(line: str, extra: Headers = (), path: str = "") -> Script:
    """The whole file under another status; `path`: only there."""

    def script(x: Exchange) -> None:
        if path and x.request.path == path:
            serve(x)
        else:
            send_body(x, line, extra, x.file)

    return script


def _odd(name: str, script: Script, expect: Expectation = Same(), versions: tuple[bytes, ...] = (FILE,), **more: object) -> Behaviour:  # noqa: B008
    return Behaviour(name, script, expect, versions, **more)  # type: ignore[arg-type]


def _apart(first: int, last: int, total: int) -> tuple[str, int, int]:
    return f"bytes {first} - {last} / {total}", first, last


def _part_as_200(x: Exchange) -> None:
    """A part's bytes under 200 in response to a user's range."""
    span = x.request.range(SMALL)
    assert span
    return send_body(x, "200 OK", (("Content-Range", honest(*span, SMALL)[0]),), FILE[span[0] : span[1] + 1])


UNFRAMED = "only the end of the connection says that the file is whole, and it was reset"

ODDITIES = (
    *(
        _odd(f"content-range-written-{name}", written(text), versions=(A,))
        for name, text in {
            "capitals": "BYTES {first}-{last}/{total}", "equals": "bytes={first}-{last}/{total}", "colon": "bytes: {first}-{last}/{total}",
            "blanks": "bytes {first} - {last} / {total}", "no-unit": "{first}-{last}/{total}",
            "zeros": "bytes 000{first}-000{last}/000{total}", "no-total": "bytes {first}-{last}", "sign": "bytes +{first}-+{last}/{total}",
            "huge-total": "bytes {first}-{last}/9{total}9999999999999999", "two": "bytes {first}-{last}/{total}, bytes 0-1/{total}",
        }.items()
    ),
    _odd("content-range-written-blanks-cut", lambda x: serve(x, cut=3_000_000, content_range=_apart), OneVersion(), (A,)),
    _odd("200-with-a-part-of-each-range", ok_with_range(False), versions=(A,)),
    _odd("200-with-a-part-of-each-range-chunked", ok_with_range(False, "chunked"), versions=(A,)),
    _odd("200-with-a-part-to-a-plain-get", ok_with_range(True), OneVersion(), (A,), options=ONCE),
    _odd("200-with-a-content-range-of-all", _ok_range_of_whole),
    _odd("200-with-nonsense-content-range", lambda x: serve(x, ranges=False, extra=(("Content-Range", "bytes 5-9/77"),))),
    *(
        _odd(f"200-with-the-part-{asked}", _part_as_200, Same(), (FILE[first:past],), options=("-r", asked), curl=("-r", asked),
             resumed="no")
        for asked, first, past in (("10-99", 10, 100), ("1000-1999", 1000, 2000), ("149900-", 149_900, SMALL), ("-50", SMALL - 50, SMALL))
    ),
    _odd("redirects-change", _elsewhere, OneVersion(), VERSIONS),
    _odd("redirects-to-login", _to_login, versions=(A,), resumed="no", options=ONCE),
    *(_odd(f"416-says-{total}", _lying_416(total), Delivers(), (A,)) for total in ("0", "1", str(BIG // 2), str(BIG), "99999999999", "*")),
    _odd("103-flood", _flood(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 20), OneVersion("1000 interim answers")),
    _odd("100-flood", _flood(b"HTTP/1.1 100 Continue\r\n\r\n", 4), Same()),
    _odd("103-flood-without-end", _flood(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 40_000), OneVersion("there is no end"),
         options=ONCE, resumed="no"),
    _odd("reset-behind-the-body", _reset_behind),
    _odd("reset-behind-an-unframed-body", _reset_unframed, OneVersion(UNFRAMED), options=ONCE),
    _odd("chunk-extension-without-end", _endless_extension, Fails(4, (*CUT, *HEAD, "chunk")), options=ONCE),
    _odd("trailers-without-end", _endless_trailers, OneVersion("the trailer section has no end"), options=ONCE),
    _odd("chunks-of-a-byte", _no_bytes_for_a_while),
    _odd("etag-changes-case", _case, OneVersion(), VERSIONS),
    _odd("etag-in-latin-1", tagged('"caf\xe9"'), Delivers("continue"), (A,)),
    _odd("etag-in-utf-8", tagged('"caf\xc3\xa9"'), Delivers("continue"), (A,)),
    _odd("etag-with-blanks-and-commas", tagged('"a, b,  c"'), Delivers("continue"), (A,)),
    _odd("etag-of-4-kib", tagged(f'"{"e" * 4096}"'), Delivers("continue"), (A,)),
    _odd("etag-lower-case-weak", tagged('w/"a"'), Delivers("continue"), (A,)),
    _odd("etag-of-a-word", tagged("abc"), Delivers("continue"), (A,)),
    _odd("etag-twice", lambda x: serve(x, etag='"one"', modified="", extra=(("ETag", '"two"'),), cut=3_000_000), Delivers("continue"),
         (A,)),
    _odd("modified-in-the-future", _future, OneVersion(), VERSIONS),
    _odd("modified-when-it-was-sent", _early_clock, OneVersion(), VERSIONS),
    _odd("ranges-in-another-coding", _packed_ranges, OneVersion(), VERSIONS),
    _odd("status-299-with-the-file", status("299 Odd")),
    *(
        _odd(f"status-{line[:3]}-with-the-file", status(line), OneVersion(f"RFC 9110 section {section}: the content is not the file"))
        for line, section in (("201 Created", "15.3.2"), ("202 Accepted", "15.3.3"), ("226 IM Used", "15.3 and RFC 3229"))
    ),
    *(
        _odd(f"redirect-{line[:3]}", status(line, (("Location", "/real"),), "/real"))
        for line in ("300 Multiple Choices", "310 Odd", "399 Odd")
    ),
    *(
        _odd(f"redirect-{line[:3]}", status(line, (("Location", "/real"),), "/real"), OneVersion("RFC 9110 section 15.4: no redirect"))
        for line in ("305 Use Proxy", "306 Switch Proxy")
    ),
    _odd("300-without-location", status("300 Multiple Choices"), OneVersion("RFC 9110 section 15.4.1: the content is a list of choices")),
    *(
        _odd(f"status-line-{name}", top(line + b"\r\n" + LENGTH + END, FILE), expect, options=ONCE)
        for name, line, expect in (
            ("lower-case", b"http/1.1 200 OK", OneVersion("RFC 9112 section 2.3: HTTP is case-sensitive")),
            ("tab", b"HTTP/1.1\t200\tOK", OneVersion("RFC 9112 section 4: a blank")),
            ("two-blanks", b"HTTP/1.1  200  OK", OneVersion("RFC 9112 section 4: one blank")),
            ("http-2", b"HTTP/2 200", OneVersion("HTTP/2 is not written so")),
            ("http-3", b"HTTP/3 200 OK", OneVersion("HTTP/3 is not written so")),
            ("icy", b"ICY 200 OK", OneVersion("that is no HTTP")),
            ("no-minor", b"HTTP/1 200 OK", OneVersion("there is no such version")),
            ("status-000", b"HTTP/1.1 000 OK", OneVersion("there is no such status")),
            ("status-099", b"HTTP/1.1 099 OK", OneVersion("there is no such status")),
            ("status-600", b"HTTP/1.1 600 OK", OneVersion("there is no such status")),
        )
    ),
    _odd("two-servers-in-turn-then-one", in_turn(lambda x: serve(x, cut=5_000_000, reset=True), refuse, lambda x: serve(x, ranges=False)),
         Delivers(), (A,)),
)
