"""Response heads: interim, too many lines, too long, malformed, late."""

from __future__ import annotations

from tests.origins.answers import Headers, etag_of, head, honest, modified_of, serve
from tests.origins.behaviour import SMALL, Behaviour, Fails, OneVersion, content
from tests.origins.cuts import CUT, ONCE
from tests.origins.server import Exchange, Script

FILE = content(SMALL)
LENGTH = f"Content-Length: {SMALL}\r\n".encode()
MALFORMED = "RFC 9112 section 5: the head is malformed"
SWITCH = "RFC 9110 section 15.2.2: no other protocol was requested, so the following bytes are no file"
HEAD = ("head", "header", "status line", "answer", "response", "http", "malformed", "invalid", *CUT)


def top(data: bytes, body: bytes = FILE) -> Script:
    """A head byte by byte, a body, the end."""

    def script(x: Exchange) -> None:
        x.send(data)
        x.body(body)
        x.fin()

    return script


def before(*heads: bytes, pause: float = 0.0) -> Script:
    """Other heads before the file server's."""

    def script(x: Exchange) -> None:
        for each in heads:
            x.send(each)
            x.pause(pause)
        serve(x)

    return script


def lines(count: int, length: int) -> Headers:
    """`count` header lines of `length` bytes."""
    return tuple((f"X-Line-{n:04}", "v" * (length - 15)) for n in range(count))


def _late(x: Exchange) -> None:
    x.pause(4.0)
    serve(x)


def _garbage_once(x: Exchange) -> None:
    if x.n:
        serve(x)
    else:
        x.send(b"\x16\x03\x01\0\xa5")
        x.fin()


def _halting(x: Exchange) -> None:
    x.send(b"HTTP/1.1 ")
    x.pause(0.5)
    x.send(b"200 OK\r\n" + LENGTH + b"\r\n")
    x.body(FILE)


def _trickled(x: Exchange) -> None:
    for byte in head("200 OK", (("Content-Length", str(SMALL)), ("ETag", etag_of(x.file)))):
        x.send(bytes((byte,)))
        x.pause(0.005)
    x.body(x.file)


def _endless(x: Exchange) -> None:
    """Header lines until the client closes the connection; at most 100 MB."""
    x.send(b"HTTP/1.1 200 OK\r\n")
    for n in range(100):
        x.send(b"".join(b"X-%d-%d: %s\r\n" % (n, m, b"v" * 1000) for m in range(1000)))
    x.fin()


def _folded_validators(x: Exchange) -> None:
    """Folded lines in the fields that matter; ranges are served."""
    span = x.request.range(SMALL)
    data = x.file[span[0] : span[1] + 1] if span else x.file
    said = f"Content-Range:\r\n {honest(*span, SMALL)[0]}\r\n" if span else ""
    status = "206 Partial Content" if span else "200 OK"
    folded = f"ETag:\r\n\t{etag_of(x.file)}\r\nLast-Modified: {modified_of(x, x.file)}\r\n{said}"
    x.send(f"HTTP/1.1 {status}\r\n{folded}Content-Length: {len(data)}\r\n\r\n".encode())
    x.body(data)


OK = b"HTTP/1.1 200 OK\r\n"
END = b"\r\n"
PART = FILE[:70_000]
SLOW = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

HEADS = (
    Behaviour("103-before-200", before(SLOW)),
    Behaviour("103-before-200-apart", before(SLOW, pause=0.3)),
    Behaviour("100-before-200", before(CONTINUE)),
    Behaviour("100-102-103-before-200", before(CONTINUE, b"HTTP/1.1 102 Processing\r\n\r\n", SLOW, SLOW)),
    Behaviour("103-with-length-before-200", before(b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\nETag: \"hint\"\r\n\r\n")),
    Behaviour("101-to-a-get", top(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: odd\r\nConnection: upgrade\r\n\r\n"),
        Fails(4, ("101", *HEAD), SWITCH), options=ONCE),
    Behaviour("120-header-lines", lambda x: serve(x, extra=lines(120, 40))),
    Behaviour("head-of-60-kib", lambda x: serve(x, extra=lines(58, 1024))),
    Behaviour("head-of-60-kib-in-1500-lines", lambda x: serve(x, extra=lines(1500, 40))),
    Behaviour("header-line-of-50-kib", lambda x: serve(x, extra=lines(1, 50 << 10))),
    Behaviour("head-without-end", _endless, Fails(4, HEAD), options=ONCE, resumed="no"),
    Behaviour("folded-line", top(OK + b"X-Long: one\r\n two\r\n\tthree\r\n" + LENGTH + END)),
    Behaviour("folded-validators", _folded_validators),
    Behaviour("folded-length-half", top(OK + b"Content-Length:\r\n %d\r\n\r\n" % SMALL, PART), Fails(4, ("length", *CUT)), options=ONCE),
    Behaviour("lf-only", top(b"HTTP/1.1 200 OK\n" + LENGTH.replace(b"\r", b"") + b"ETag: \"a\"\n\n")),
    Behaviour("lf-only-half", top(b"HTTP/1.1 200 OK\n" + LENGTH.replace(b"\r", b"") + b"\n", PART), Fails(4, CUT), options=ONCE),
    Behaviour("line-without-colon", top(OK + b"this is no header\r\n" + LENGTH + END), OneVersion(MALFORMED), options=ONCE),
    Behaviour("line-without-colon-half", top(OK + b"this is no header\r\n" + LENGTH + END, PART), Fails(4, HEAD), options=ONCE),
    Behaviour("nul-in-a-header", top(OK + b"X-Odd: a\0b\r\n" + LENGTH + END), OneVersion(MALFORMED), options=ONCE),
    Behaviour("nul-in-a-header-half", top(OK + b"X-Odd: a\0b\r\n" + LENGTH + END, PART), Fails(4, HEAD), options=ONCE),
    Behaviour("blank-before-colon", top(OK + b"Server : odd\r\n" + LENGTH + END)),
    Behaviour("blank-before-colon-of-length-half", top(OK + b"Content-Length : %d\r\n\r\n" % SMALL, PART), OneVersion(MALFORMED),
        (FILE, PART), options=ONCE),
    Behaviour("latin-1-in-a-header", top(OK + b"X-Name: caf\xe9\r\n" + LENGTH + END)),
    Behaviour("empty-header-values", top(OK + b"Server:\r\nX-Empty: \r\nETag:\r\n" + LENGTH + END)),
    Behaviour("http-0.9", top(b""), Fails(4, HEAD), options=ONCE),
    Behaviour("garbage", top(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", b""), Fails(4, HEAD), options=ONCE),
    Behaviour("http-2-preface", top(b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80\0\x04\0\x01\0\0\0\x05\0\xff\xff\xff", b""), Fails(4, HEAD),
        options=ONCE),
    Behaviour("empty-line-before-the-status", top(b"\r\nHTTP/1.1 200 OK\r\n" + LENGTH + END), Fails(4, HEAD), options=ONCE),
    Behaviour("head-cut", top(OK + b"Server: odd\r\nContent-Le", b""), Fails(4, HEAD), options=ONCE),
    Behaviour("head-cut-at-a-lines-end", top(OK + b"Server: odd\r\n", b""), Fails(4, HEAD), options=ONCE),
    Behaviour("head-cut-before-its-end", top(OK + LENGTH, b""), Fails(4, HEAD), options=ONCE),
    Behaviour("no-reason", top(b"HTTP/1.1 200\r\n" + LENGTH + END)),
    Behaviour("no-reason-but-a-blank", top(b"HTTP/1.1 200 \r\n" + LENGTH + END)),
    Behaviour("reason-in-utf-8", top("HTTP/1.1 200 すべて良し\r\n".encode() + LENGTH + END)),
    Behaviour("status-of-two-digits", top(b"HTTP/1.1 20 OK\r\n" + LENGTH + END), Fails(4, HEAD), options=ONCE),
    Behaviour("status-of-four-digits", top(b"HTTP/1.1 2000 OK\r\n" + LENGTH + END), Fails(4, HEAD, MALFORMED), options=ONCE),
    Behaviour("203-to-a-get", top(b"HTTP/1.1 203 Non-Authoritative Information\r\n" + LENGTH + END)),
    Behaviour("version-1.2", top(b"HTTP/1.2 200 OK\r\n" + LENGTH + END), OneVersion("there is no such version")),
    Behaviour("first-byte-after-4-s", _late),
    Behaviour("head-byte-by-byte", _trickled),
    Behaviour("slow-above-minrate", lambda x: serve(x, rate=60_000.0), options=("--minrate", "20K")),
    Behaviour(
        "slow-below-minrate", lambda x: serve(x, rate=3_000.0), Fails(6, ("per second", "slow", "rate")),
        options=("--minrate", "1M", *ONCE[:1], "0"),
        curl=("-m", "5"), ways=("alone",), bound=120.0,
    ),
    Behaviour("garbage-once", _garbage_once, OneVersion("no server says this by chance")),
    Behaviour("head-in-two-parts", _halting),
)
