"""Responses to a range that differ from the request, and servers that misstate their support of ranges."""

from __future__ import annotations

from tests.origins.answers import Headers, chunked, etag_of, head, honest, refuse, serve
from tests.origins.behaviour import BIG, PIECE, SLOW_ENOUGH, Behaviour, Delivers, OneVersion, content
from tests.origins.server import Exchange, Script

FILE = (content(BIG, 1),)
OTHER = content(BIG, 2)


def lying(say: str, first: int = 0, last: int = 0, other: bool = False) -> Script:
    """Content-Range `say` of {first} {last} {total}; the bytes sent are moved by `first` and `last`; `other`: of another file.

    A range from byte 0 to the end gets a correct response, as from a server that fails for parts only.
    """

    def script(x: Exchange) -> None:
        def content_range(a: int, b: int, total: int) -> tuple[str, int, int]:
            if (a, b) == (0, total - 1):
                return honest(a, b, total)
            return say.format(first=a, last=b, total=total, next=a + PIECE, next_last=b + PIECE, less=a - 1, more=b + 1, far=total + x.n), \
                max(0, a + first), b + last

        ranged = x.request.range(BIG)
        serve(x, file=OTHER if other and ranged else None, etag=etag_of(FILE[0]), content_range=content_range,
        rate=0 if x.n else SLOW_ENOUGH)

    return script


def to_ranges(status: str, headers: Headers = (), also_whole: bool = False) -> Script:
    """A plain GET gets the file, a range of it a status; `also_whole`: also bytes=0-."""

    def script(x: Exchange) -> None:
        span = x.request.range(BIG)
        if span is not None and (also_whole or span[0] > 0 or span[1] < BIG - 1):
            refuse(x, status, headers)
        else:
            serve(x, advertise="bytes", rate=0 if x.n else SLOW_ENOUGH)

    return script


def _reset(x: Exchange) -> None:
    if x.request.range(BIG):
        x.rst()
    serve(x, advertise="bytes", rate=SLOW_ENOUGH)


def _never(x: Exchange) -> None:
    if x.request.range(BIG):
        x.silence()
    serve(x, advertise="bytes", rate=SLOW_ENOUGH)


def _multipart(x: Exchange) -> None:
    span = x.request.range(BIG)
    if not span:
        return serve(x, rate=SLOW_ENOUGH)
    part = b"--cut\r\nContent-Range: bytes %d-%d/%d\r\n\r\n" % (*span, BIG) + x.file[span[0] : span[1] + 1] + b"\r\n--cut--\r\n"
    x.send(head("206 Partial Content", (("Content-Type", "multipart/byteranges; boundary=cut"), ("ETag", etag_of(x.file)),
        ("Content-Length", str(len(part))))))
    return x.body(part)


def _length_of_more(x: Exchange) -> None:
    """Content-Length and Content-Range of a range disagree by one byte, which is sent."""
    span = x.request.range(BIG)
    if not span or span[1] == BIG - 1:
        return serve(x, rate=SLOW_ENOUGH)
    data = x.file[span[0] : span[1] + 2]
    given = (("ETag", etag_of(x.file)), ("Content-Range", honest(*span, BIG)[0]), ("Content-Length", str(len(data))))
    x.send(head("206 Partial Content", given))
    return x.body(data)


def _partial_chunked(x: Exchange) -> None:
    span = x.request.range(BIG)
    if not span:
        return serve(x, rate=SLOW_ENOUGH)
    given = (("ETag", etag_of(x.file)), ("Content-Range", honest(*span, BIG)[0]), ("Transfer-Encoding", "chunked"))
    x.send(head("206 Partial Content", given))
    return x.body(chunked(x.file[span[0] : span[1] + 1]))


def _partial_to_plain(x: Exchange) -> None:
    """206 of everything in response to a GET without Range."""
    if x.request.range(BIG):
        return serve(x)
    given = (("ETag", etag_of(x.file)), ("Content-Range", honest(0, BIG - 1, BIG)[0]), ("Content-Length", str(BIG)))
    x.send(head("206 Partial Content", given))
    return x.body(x.file)


def _first_part_to_plain(x: Exchange) -> None:
    """206 of the first 100,000 bytes in response to a GET without Range: curl takes it for the file."""
    if x.request.range(BIG):
        return serve(x)
    given = (("ETag", etag_of(x.file)), ("Content-Range", honest(0, 99_999, BIG)[0]), ("Content-Length", "100000"))
    x.send(head("206 Partial Content", given))
    return x.body(x.file[:100_000])


LIES = {
    "other-range": ("bytes {next}-{next_last}/{total}", 0, 0),
    "next-pieces-bytes": ("bytes {next}-{next_last}/{total}", PIECE, PIECE),
    "other-total": ("bytes {first}-{last}/999999999", 0, 0),
    "growing-total": ("bytes {first}-{last}/{far}", 0, 0),
    "missing": ("", 0, 0),
    "off-by-one": ("bytes {less}-{last}/{total}", -1, 0),
    "off-by-one-said-only": ("bytes {less}-{last}/{total}", 0, 0),
    "one-more-said-only": ("bytes {first}-{more}/{total}", 0, 0),
    "one-more": ("bytes {first}-{more}/{total}", 0, 1),
    "no-numbers": ("bytes all/of/it", 0, 0),
    "other-unit": ("items {first}-{last}/{total}", 0, 0),
    "reversed": ("bytes {last}-{first}/{total}", 0, 0),
    "unsatisfied": ("bytes */{total}", 0, 0),
    "short": ("bytes {first}-{last}/{total}", 0, -1),
}

RANGES = (
    *(Behaviour(f"content-range-{name}", lying(*lie), versions=FILE) for name, lie in LIES.items()),
    Behaviour("content-range-missing-other-bytes", lying("", other=True), OneVersion(), (*FILE, OTHER)),
    Behaviour("content-range-total-unknown", lambda x: serve(x, content_range=lambda a, b, total: (f"bytes {a}-{b}/*", a, b)),
        versions=FILE),
    Behaviour("content-range-lower-case-unit-and-blanks", lambda x: serve(x, content_range=lambda a, b,
        total: (f"Bytes  {a}-{b}/{total}", a, b)), versions=FILE),
    Behaviour("range-overlong", lambda x: serve(x, content_range=lambda a, b, total: honest(a, total - 1, total)), versions=FILE),
    Behaviour("range-shorter-than-asked", lambda x: serve(x, content_range=lambda a, b, total: honest(a, min(b, a + 1_999_999), total)),
        versions=FILE),
    Behaviour("range-from-the-start", lambda x: serve(x, content_range=lambda a, b, total: honest(0, b, total)), versions=FILE),
    Behaviour("range-multipart", _multipart, versions=FILE),
    Behaviour("range-length-of-more", _length_of_more, versions=FILE),
    Behaviour("range-chunked", _partial_chunked, versions=FILE),
    Behaviour("206-to-plain-get", _partial_to_plain, versions=FILE),
    Behaviour("206-of-a-part-to-plain-get", _first_part_to_plain, OneVersion(), FILE),
    Behaviour("advertised-and-answered-200", lambda x: serve(x, ranges=False, advertise="bytes", rate=0 if x.n else SLOW_ENOUGH),
        versions=FILE),
    Behaviour("advertised-and-answered-200-chunked", lambda x: serve(x, ranges=False, advertise="bytes", framing="chunked"), versions=FILE),
    Behaviour("not-advertised-and-answered-206", lambda x: serve(x, advertise=""), versions=FILE),
    Behaviour("denied-and-answered-206", lambda x: serve(x, advertise="none"), versions=FILE),
    Behaviour("not-advertised-cut-each-3-mb", lambda x: serve(x, advertise="", cut=3_000_000), Delivers("continue"), FILE),
    Behaviour("range-reset", _reset, versions=FILE, resumed="may"),
    Behaviour("range-never-answered", _never, versions=FILE, resumed="no"),
    Behaviour("range-416-with-total", to_ranges("416 Range Not Satisfiable", (("Content-Range", f"bytes */{BIG}"),)), versions=FILE),
    Behaviour("range-416-always", to_ranges("416 Range Not Satisfiable", also_whole=True), versions=FILE),
    *(
        Behaviour(f"range-{status[:3]}", to_ranges(status), versions=FILE)
        for status in ("400 Bad Request", "403 Forbidden", "404 Not Found", "406 Not Acceptable", "500 Internal Server Error",
        "501 Not Implemented")
    ),
)
