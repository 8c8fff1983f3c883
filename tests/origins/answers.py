"""Building blocks of scripts: `serve` is a correct file server in which one thing can be changed, `say` writes a given head."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from email.utils import formatdate

from tests.origins.server import Exchange

EPOCH = 1_700_000_000

Headers = tuple[tuple[str, str], ...]
ContentRange = Callable[[int, int, int], tuple[str, int, int]]
"""(first, last, total) -> the Content-Range ("" for none), and the first and last byte sent."""


def etag_of(file: bytes) -> str:
    """A strong ETag that follows from the bytes."""
    return f'"{zlib.crc32(file):08x}-{len(file)}"'


def modified_of(x: Exchange, file: bytes) -> str:
    """A different Last-Modified for each version."""
    return formatdate(EPOCH + 3600 * x.server.versions.index(file), usegmt=True)


def http_date(seconds: float) -> str:
    """The date so many seconds from now."""
    return formatdate(time.time() + seconds, usegmt=True)


def head(status: str, headers: Headers, version: str = "HTTP/1.1") -> bytes:
    """A head in the form of RFC 9112."""
    lines = [f"{version} {status}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def say(x: Exchange, status: str, body: bytes = b"", headers: Headers = (), version: str = "HTTP/1.1") -> None:
    """Send a short response with its Content-Length."""
    x.send(head(status, (("Content-Length", str(len(body))), *headers), version) + body)


def refuse(x: Exchange, status: str = "503 Service Unavailable", headers: Headers = ()) -> None:
    """Send a response that is not the file."""
    say(x, status, b"not the file you wanted\n", headers)


def raw(x: Exchange, top: bytes, body: bytes = b"") -> None:
    """Send a head byte by byte, then a body, then the end of the connection."""
    x.send(top)
    x.body(body)
    x.fin()


def chunks(data: bytes, size: int = 30_000, extension: str = "") -> list[bytes]:
    """`data` in chunks, without the last one."""
    return [b"%x%s\r\n%s\r\n" % (len(data[at : at + size]), extension.encode(), data[at : at + size]) for at in range(0, len(data), size)]


def chunked(data: bytes, size: int = 30_000, extension: str = "", trailers: str = "") -> bytes:
    """`data` as a complete chunked body."""
    return b"".join(chunks(data, size, extension)) + b"0\r\n" + trailers.encode() + b"\r\n"


def honest(first: int, last: int, total: int) -> tuple[str, int, int]:
    """A correct Content-Range."""
    return f"bytes {first}-{last}/{total}", first, last


def _unchanged(x: Exchange, etag: str, modified: str) -> bool:
    """Whether If-None-Match, else If-Modified-Since, names this version."""
    if asked := x.request.get("if-none-match"):
        return bool(etag) and etag.removeprefix("W/") in [each.strip().removeprefix("W/") for each in asked.split(",")]
    return bool(modified) and x.request.get("if-modified-since") == modified


def serve(
    x: Exchange, *, file: bytes | None = None, etag: str | None = None, modified: str | None = None, ranges: bool = True,
    advertise: str | None = None, if_range: bool = True, content_range: ContentRange = honest, framing: str = "length",
    cut: int = -1, reset: bool = False, rate: float = 0.0, extra: Headers = (), surplus: bytes = b"", version: str = "HTTP/1.1",
) -> None:
    """A file server.

    etag, modified: "" for none, None to derive them from the bytes. ranges: are served; advertise: value of Accept-Ranges, "" for
    none. if_range: is honoured. framing: length, chunked, close. cut: bytes of the body after which the connection ends,
    by a reset if `reset`. surplus: bytes behind the body.
    """
    file = x.file if file is None else file
    etag = etag_of(file) if etag is None else etag
    modified = modified_of(x, file) if modified is None else modified
    advertise = ("bytes" if ranges else "") if advertise is None else advertise
    given: Headers = tuple(
        pair for pair in (("ETag", etag), ("Last-Modified", modified), ("Accept-Ranges", advertise)) if pair[1]
    ) + extra
    if _unchanged(x, etag, modified):
        x.send(head("304 Not Modified", given))
        return
    span = x.request.range(len(file)) if ranges else None
    held = x.request.get("if-range")
    if span and if_range and held and held not in ((etag if not etag.startswith("W/") else ""), modified):
        span = None
    if span == (-1, -1):
        refuse(x, "416 Range Not Satisfiable", (("Content-Range", f"bytes */{len(file)}"),))
        return
    status, data = "200 OK", file
    if span:
        said, first, last = content_range(*span, len(file))
        status, data = "206 Partial Content", file[first : last + 1]
        given += (("Content-Range", said),) if said else ()
    send_body(x, status, given, data, framing=framing, cut=cut, reset=reset, rate=rate, surplus=surplus, version=version)


def send_body(
    x: Exchange, status: str, headers: Headers, data: bytes, *, framing: str = "length", cut: int = -1, reset: bool = False,
    rate: float = 0.0, surplus: bytes = b"", version: str = "HTTP/1.1",
) -> None:
    """Send a response with its body, as for `serve`."""
    if framing == "length":
        headers = (("Content-Length", str(len(data))), *headers)
    elif framing == "chunked":
        headers, data = (("Transfer-Encoding", "chunked"), *headers), chunked(data)
    else:
        x.keep = False
    if not x.keep:
        headers = (("Connection", "close"), *headers)
    x.send(head(status, headers, version))
    if 0 <= cut < len(data):
        x.body(data[:cut], rate)
        if reset:
            # A reset discards bytes that the client has not read yet: give it time to read them.
            x.pause(0.05)
            x.rst()
        x.fin()
    x.body(data + surplus, rate)
    if surplus:
        x.fin()
