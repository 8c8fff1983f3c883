"""Bodies that end early. curl alone does not complete them, repeated `curl -C -` does."""

from __future__ import annotations

from tests.origins.answers import chunked, head, modified_of, serve
from tests.origins.behaviour import BIG, SLOW_ENOUGH, Behaviour, Delivers, Fails, OneVersion, content
from tests.origins.server import Exchange

CUT = (
    "cut", "short", "early", "ends", "ended", "broke off", "breaks off", "closed", "truncated", "partial", "missing", "reset", "remaining",
    "in the middle", "incomplete",
)
"""Words of which an error about a truncated body has one."""

ONCE = ("--retry", "1")
FILE = (content(BIG, 1),)
ONE_MIB = (content(1 << 20, 6),)
CONTINUED = Delivers("continue")


def _one_byte_short(x: Exchange) -> None:
    """A whole file is one byte short, a range is right."""
    serve(x, cut=-1 if x.request.range(BIG) else BIG - 1)


def _empty_answer_once(x: Exchange) -> None:
    if x.n == 0:
        x.fin()
    serve(x)


def _reset_before_head_once(x: Exchange) -> None:
    if x.n == 0:
        x.rst()
    serve(x)


def _head_cut_once(x: Exchange) -> None:
    if x.n == 0:
        x.send(b"HTTP/1.1 200 OK\r\nContent-Le")
        x.fin()
    serve(x)


def _chunked_cut(x: Exchange) -> None:
    serve(x, framing="chunked", cut=-1 if x.request.range(BIG) else 5_000_000)


def _chunked_cut_part(x: Exchange) -> None:
    """The length is not stated; a range gets at most 2 MB, of a file of unknown length."""
    serve(x, framing="chunked", cut=-1 if x.n else 3_000_000, content_range=lambda a, b, total: (f"bytes {a}-{min(b, a + 1_999_999)}/*",
        a, min(b, a + 1_999_999)))


def _chunked_cut_unknown(x: Exchange) -> None:
    """Neither length nor ranges: a retry starts over."""
    data = chunked(x.file)
    x.keep = False
    x.send(head("200 OK", (("Transfer-Encoding", "chunked"), ("Last-Modified", modified_of(x, x.file)))))
    x.body(data if x.n else data[:80_000])


def _reset_in_close_delimited(x: Exchange) -> None:
    x.send(head("200 OK", (("Connection", "close"),)))
    x.body(x.file[:100_000])
    x.pause(0.1)
    x.rst()


def _closes_idle(x: Exchange) -> None:
    """Announces a kept connection, and closes it."""
    serve(x, extra=(("Connection", "keep-alive"), ("Keep-Alive", "timeout=60")))
    x.fin()


CUTS = (
    Behaviour("cut-each-3-mb", lambda x: serve(x, cut=3_000_000), CONTINUED, FILE),
    Behaviour("cut-each-3-mb-date-only", lambda x: serve(x, cut=3_000_000, etag=""), CONTINUED, FILE),
    Behaviour("cut-each-3-mb-weak-etag-and-date", lambda x: serve(x, cut=3_000_000, etag='W/"a"', if_range=False), CONTINUED, FILE),
    Behaviour("cut-each-3-mb-weak-etag", lambda x: serve(x, cut=3_000_000, etag='W/"a"', modified="", if_range=False), OneVersion(), FILE),
    Behaviour("cut-each-200-kb-of-1-mib", lambda x: serve(x, cut=200_000), CONTINUED, ONE_MIB),
    Behaviour("cut-each-200-kb-keep-alive-said", lambda x: serve(x, cut=200_000, extra=(("Connection", "keep-alive"),)), CONTINUED,
        ONE_MIB),
    Behaviour("reset-each-3-mb", lambda x: serve(x, cut=3_000_000, reset=True), CONTINUED, FILE),
    Behaviour("reset-once", lambda x: serve(x, cut=-1 if x.n else 3_000_000, reset=True), CONTINUED, FILE),
    Behaviour("reset-once-without-ranges", lambda x: serve(x, ranges=False, cut=-1 if x.n else 3_000_000, reset=True), Delivers(), FILE),
    Behaviour("one-byte-short", _one_byte_short, CONTINUED, FILE),
    Behaviour("cut-once-without-ranges", lambda x: serve(x, ranges=False, cut=-1 if x.n else 3_000_000), Delivers(), FILE),
    Behaviour("cut-at-the-first-byte-once", lambda x: serve(x, cut=-1 if x.n else 0), Delivers(), FILE),
    Behaviour("cut-always-without-ranges", lambda x: serve(x, ranges=False, cut=100_000), Fails(4, CUT), options=ONCE),
    Behaviour("cut-always-without-validators", lambda x: serve(x, etag="", modified="", cut=100_000), Fails(4, CUT), options=ONCE),
    Behaviour("reset-always-without-ranges", lambda x: serve(x, ranges=False, cut=100_000, reset=True), Fails(4, CUT), options=ONCE),
    Behaviour("reset-in-close-delimited", _reset_in_close_delimited, Fails(4, CUT), options=ONCE),
    Behaviour("chunked-cut-ranges-whole", _chunked_cut, CONTINUED, FILE),
    Behaviour("chunked-cut-range-of-no-total", _chunked_cut_part, OneVersion("RFC 9110 section 14.4: the length may be unknown"), FILE),
    Behaviour("chunked-cut-once", _chunked_cut_unknown, Delivers()),
    Behaviour("empty-answer-once", _empty_answer_once, Delivers()),
    Behaviour("empty-answer-always", lambda x: x.fin(), Fails(4, (*CUT, "empty", "no answer", "nothing")), options=ONCE),
    Behaviour("reset-before-head-once", _reset_before_head_once, Delivers()),
    Behaviour("reset-before-head-always", lambda x: x.rst(), Fails(4, ("reset",)), options=ONCE),
    Behaviour("head-cut-once", _head_cut_once, Delivers("")),
    Behaviour("closes-kept-connections", _closes_idle, versions=FILE),
    Behaviour("slow-and-cut-each-3-mb", lambda x: serve(x, cut=3_000_000, rate=SLOW_ENOUGH), CONTINUED, FILE),
)
