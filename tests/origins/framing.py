"""The end of a body: Content-Length and Transfer-Encoding as servers write them (RFC 9112 section 6)."""

from __future__ import annotations

import gzip
import zlib

from tests.origins.answers import chunked, chunks, head, serve
from tests.origins.behaviour import SMALL, Behaviour, Expectation, Fails, OneVersion, Same, content
from tests.origins.cuts import CUT, ONCE
from tests.origins.server import Exchange, Script

FILE = content(SMALL)
HALF = FILE[: SMALL // 2]
PACKED = gzip.compress(FILE[:50_000] * 2, 1, mtime=0)
LENGTH = ("length", *CUT)
CODING = ("coding", "transfer-encoding", "chunk", "encoding")
INVALID = "RFC 9112 section 6.3: a Content-Length that is no number is an unrecoverable error"
DIFFERENT = "RFC 9110 section 8.6: lengths that differ are an unrecoverable error"


def typed(fields: str, body: bytes = FILE, version: str = "HTTP/1.1", end: bool = True) -> Script:
    """A head with these lines, a body, and the end of the connection; {n} is the file's length. `end` false: silence instead."""
    lines = fields.format(n=SMALL, more=SMALL + 1).replace("\n", "\r\n")

    def script(x: Exchange) -> None:
        x.send(f"{version} 200 OK\r\n{lines}\r\n\r\n".encode("latin-1"))
        x.body(body)
        if not end:
            x.silence()
        x.fin()

    return script


def _coded(x: Exchange) -> None:
    """A file that is stored compressed: curl stores the bytes as received."""
    serve(x, extra=(("Content-Encoding", "gzip"),))


def _odd(name: str, fields: str, expect: Expectation = Same(), body: bytes = FILE, version: str = "HTTP/1.1") -> Behaviour:  # noqa: B008
    options = ONCE if isinstance(expect, Fails | OneVersion) else ()
    return Behaviour(name, typed(fields, body, version), expect, options=options)


WHOLE = chunked(FILE)
BEGUN = b"".join(chunks(FILE))
ENDED = b"0\r\n\r\n"
GZIPPED = chunked(gzip.compress(FILE, 1, mtime=0))

LENGTHS = (
    _odd("length-blank-behind", "Content-Length: {n} "),
    _odd("length-blank-behind-half", "Content-Length: {n} ", Fails(4, LENGTH), HALF),
    _odd("length-tabs-around", "Content-Length:\t{n}\t"),
    _odd("length-tabs-around-half", "Content-Length:\t{n}\t", Fails(4, LENGTH), HALF),
    _odd("length-no-blank", "Content-Length:{n}"),
    _odd("length-other-letters-half", "cOnTeNt-LeNgTh: {n}", Fails(4, LENGTH), HALF),
    _odd("length-list-equal", "Content-Length: {n}, {n}"),
    _odd("length-list-equal-half", "Content-Length: {n}, {n}", Fails(4, LENGTH), HALF),
    _odd("length-list-different", "Content-Length: {n}, {more}", Fails(4, LENGTH, DIFFERENT)),
    _odd("length-list-different-half", "Content-Length: {n}, {more}", Fails(4, LENGTH), HALF),
    _odd("length-twice-equal", "Content-Length: {n}\nContent-Length: {n}"),
    _odd("length-twice-equal-half", "Content-Length: {n}\nContent-Length: {n}", Fails(4, LENGTH), HALF),
    _odd("length-twice-different", "Content-Length: {n}\nContent-Length: {more}", Fails(4, LENGTH, DIFFERENT)),
    _odd("length-twice-different-other-order", "Content-Length: {more}\nContent-Length: {n}", Fails(4, LENGTH, DIFFERENT)),
    _odd("length-half", "Content-Length: {n}", Fails(4, LENGTH), HALF),
    Behaviour("length-half-then-silence", typed("Content-Length: {n}", HALF, end=False), Fails(8, ("time", "within"), named=False),
              options=("--timeout", "3"), curl=("-m", "3"), bound=15.0),
    _odd("length-plus", "Content-Length: +{n}", OneVersion(INVALID)),
    _odd("length-plus-half", "Content-Length: +{n}", Fails(4, LENGTH), HALF),
    _odd("length-minus-one", "Content-Length: -1", OneVersion(INVALID)),
    _odd("length-hex", "Content-Length: 0x249f1", OneVersion(INVALID)),
    _odd("length-decimal", "Content-Length: {n}.0", OneVersion(INVALID)),
    _odd("length-20-digits", "Content-Length: 99999999999999999999", OneVersion("no file is as long")),
    _odd("length-leading-zeros", "Content-Length: 0000000000{n}"),
    _odd("length-empty", "Content-Length:", OneVersion(INVALID)),
    _odd("length-word", "Content-Length: unknown", OneVersion(INVALID)),
    _odd("length-surplus", "Content-Length: {n}", body=FILE + b"surplus" * 20),
    _odd("length-surplus-1.0", "Content-Length: {n}", body=FILE + b"surplus" * 20, version="HTTP/1.0"),
    _odd("length-1.0", "Content-Length: {n}", version="HTTP/1.0"),
    _odd("length-1.0-half", "Content-Length: {n}", Fails(4, LENGTH), HALF, "HTTP/1.0"),
    _odd("close-delimited-1.0", "Server: old", version="HTTP/1.0"),
    _odd("close-delimited-1.1", "Connection: close"),
    _odd("close-delimited-nothing-said", "Server: odd"),
)
CODINGS = (
    _odd("coding-chunked-blank-behind", "Transfer-Encoding: chunked ", body=WHOLE),
    _odd("coding-chunked-tab-before", "Transfer-Encoding:\tchunked", body=WHOLE),
    _odd("coding-other-letters", "transfer-encoding: Chunked", body=WHOLE),
    _odd("coding-capitals", "TRANSFER-ENCODING: CHUNKED", body=WHOLE),
    _odd("coding-identity-and-length", "Transfer-Encoding: identity\nContent-Length: {n}"),
    _odd("coding-identity", "Transfer-Encoding: identity"),
    _odd("coding-gzip-chunked", "Transfer-Encoding: gzip, chunked", OneVersion("RFC 9112 section 6.1: no such coding was accepted by TE"),
        GZIPPED),
    _odd("coding-gzip-chunked-not-gzip", "Transfer-Encoding: gzip, chunked", OneVersion("RFC 9112 section 6.1: gzip is not undone"), WHOLE),
    _odd("coding-gzip", "Transfer-Encoding: gzip", OneVersion("no such coding was accepted by TE"), gzip.compress(FILE, 1, mtime=0)),
    _odd("coding-deflate-chunked", "Transfer-Encoding: deflate, chunked", OneVersion("no such coding was accepted"),
        chunked(zlib.compress(FILE, 1))),
    _odd("coding-unknown", "Transfer-Encoding: rot13", Fails(4, CODING)),
    _odd("coding-unknown-chunked", "Transfer-Encoding: rot13, chunked", Fails(4, CODING), WHOLE),
    _odd("coding-chunked-twice", "Transfer-Encoding: chunked, chunked", OneVersion("RFC 9112 section 7.1: not applied more than once"),
        WHOLE),
    _odd("coding-two-lines", "Transfer-Encoding: identity\nTransfer-Encoding: chunked", OneVersion("identity is no coding any more"),
        WHOLE),
    _odd("coding-chunked-and-length", "Transfer-Encoding: chunked\nContent-Length: {n}", body=WHOLE),
    _odd("coding-length-and-chunked", "Content-Length: 17\nTransfer-Encoding: chunked", body=WHOLE),
    _odd("coding-chunked-1.0", "Transfer-Encoding: chunked", OneVersion("RFC 9112 section 6.1: the framing is faulty"), WHOLE, "HTTP/1.0"),
    _odd("content-coding-identity", "Content-Encoding: identity\nContent-Length: {n}"),
    Behaviour("content-coding-gzip", _coded, versions=(PACKED,)),
)
CHUNKS = (
    _odd("chunk-extensions", "Transfer-Encoding: chunked", body=chunked(FILE, extension=';name="value; 12";plain')),
    _odd("chunk-trailers", "Transfer-Encoding: chunked\nTrailer: X-Sum", body=chunked(FILE, trailers="X-Sum: 1\r\nContent-Length: 5\r\n")),
    _odd("chunk-leading-zeros", "Transfer-Encoding: chunked", body=b"".join(b"00000" + each for each in chunks(FILE)) + ENDED),
    _odd("chunk-capital-digits", "Transfer-Encoding: chunked", body=b"%X\r\n" % SMALL + FILE + b"\r\n" + ENDED),
    _odd("chunk-one-byte-each", "Transfer-Encoding: chunked", body=chunked(FILE[:20_000], 1) [:-5] + chunked(FILE[20_000:])),
    _odd("chunk-cut-in-the-middle", "Transfer-Encoding: chunked", Fails(4, CUT), BEGUN[:100_000]),
    _odd("chunk-cut-at-a-chunks-end", "Transfer-Encoding: chunked", Fails(4, CUT), b"".join(chunks(FILE)[:3])),
    _odd("chunk-cut-in-a-size", "Transfer-Encoding: chunked", Fails(4, (*CUT, *CODING)), b"".join(chunks(FILE)[:3]) + b"75"),
    _odd("chunk-last-missing", "Transfer-Encoding: chunked", Fails(4, CUT), BEGUN),
    _odd("chunk-cut-and-length", "Transfer-Encoding: chunked\nContent-Length: {n}", Fails(4, CUT), BEGUN[:100_000]),
    _odd("chunk-bad-size", "Transfer-Encoding: chunked", Fails(4, (*CODING, *CUT)), BEGUN[:60_020] + b"\r\nxyz\r\nabc" + ENDED),
    _odd("chunk-negative-size", "Transfer-Encoding: chunked", Fails(4, (*CODING, *CUT)), b"-5\r\nabcde\r\n" + ENDED),
    _odd("chunk-size-0x", "Transfer-Encoding: chunked", Fails(4, (*CODING, *CUT)), b"0x5\r\nabcde\r\n" + WHOLE),
    _odd("chunk-huge-size", "Transfer-Encoding: chunked", Fails(4, (*CODING, *CUT)), b"fffffffffffffffffff\r\n" + FILE),
    _odd("chunk-size-of-8-exabytes", "Transfer-Encoding: chunked", Fails(4, (*CODING, *CUT)), b"7fffffffffffffff\r\n" + FILE),
    _odd("chunk-longer-than-said", "Transfer-Encoding: chunked", Fails(4, (*CODING, *CUT)), b"10\r\n" + FILE[:40] + b"\r\n" + ENDED),
    _odd("chunk-without-framing", "Transfer-Encoding: chunked", Fails(4, (*CODING, *CUT)), FILE),
    _odd("chunk-lf-only", "Transfer-Encoding: chunked", OneVersion("RFC 9112 section 7.1: a chunk's line ends with CRLF"),
        b"%x\n" % SMALL + FILE + b"\n0\n\n"),
    _odd("chunk-last-without-end", "Transfer-Encoding: chunked", OneVersion("the trailer section is cut"), BEGUN + b"0\r\n"),
)


def _no_content(x: Exchange) -> None:
    x.send(head("204 No Content", ()))


def _not_modified(x: Exchange) -> None:
    x.send(head("304 Not Modified", (("ETag", '"a"'),)))


WITHOUT = "there is no file in it"
FRAMING = (
    *LENGTHS, *CODINGS, *CHUNKS,
    Behaviour("204-to-a-get", _no_content, Fails(4, ("204",), WITHOUT)),
    Behaviour("304-to-a-get", _not_modified, Fails(4, ("304",), WITHOUT)),
)
