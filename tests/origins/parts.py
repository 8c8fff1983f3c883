"""Parts of a file that a user requests (`--range`): RFC 9110 section 14 defines their bytes, whatever the server supports."""

from __future__ import annotations

from collections.abc import Callable

from tests.origins.answers import serve
from tests.origins.behaviour import BIG, PIECE, SMALL, Behaviour, Delivers, Expectation, Fails, Same, content
from tests.origins.server import Exchange, Script

GONE = ("416", "no byte")
"""Words of which an error about a part beyond the file's end has one."""

Serve = Callable[[Exchange, bytes], None]


def star(first: int, last: int, total: int) -> tuple[str, int, int]:
    """A Content-Range that does not state the file's length (RFC 9110 section 14.4)."""
    return f"bytes {first}-{last}/*", first, last


def short(first: int, last: int, total: int) -> tuple[str, int, int]:
    """The same, with at most a million bytes in each response."""
    last = min(last, first + 999_999)
    return f"bytes {first}-{last}/*", first, last


WAYS: dict[str, Serve] = {
    "told": lambda x, file: serve(x, file=file, modified=""),
    "total-unknown": lambda x, file: serve(x, file=file, modified="", content_range=star),
    "total-unknown-chunked": lambda x, file: serve(x, file=file, modified="", content_range=star, framing="chunked"),
    "ignored": lambda x, file: serve(x, file=file, modified="", ranges=False),
    "ignored-chunked": lambda x, file: serve(x, file=file, modified="", ranges=False, framing="chunked"),
    "ignored-until-close": lambda x, file: serve(x, file=file, modified="", ranges=False, framing="close"),
    "ignored-chunked-no-validators": lambda x, file: serve(x, file=file, etag="", modified="", ranges=False, framing="chunked"),
}
"""Responses of servers to a range."""


def _of(file: bytes, asked: str) -> bytes:
    """The bytes of `A-B`, `A-` or `-N`."""
    first, _, last = asked.partition("-")
    if not first:
        return file[max(0, len(file) - int(last)) :]
    return file[int(first) : int(last) + 1 if last else None]


def _part(name: str, asked: str, size: int, way: str, expect: Expectation | None = None, resumed: str = "no") -> Behaviour:
    """A behaviour with --range. Where the server ignores the range, curl stores the whole file and is no oracle."""
    file = content(size, 8)
    held = _of(file, asked)
    if expect is None:
        expect = Delivers("") if way.startswith("ignored") else Same()
    return Behaviour(
        f"part-{name}-{way}", _script(WAYS[way], file), expect, versions=(held,), options=("-r", asked, "--retry", "1"), curl=("-r", asked),
        resumed=resumed,
    )


def _script(way: Serve, file: bytes) -> Script:
    return lambda x: way(x, file)


def _in_parts(x: Exchange) -> None:
    """Open ranges get a part in each response, whose number is not stated."""
    serve(x, file=content(BIG, 8), modified="", content_range=short)


def _refused(way: str) -> Fails:
    return Fails(4, GONE, "RFC 9110 section 14.2: curl keeps the whole file" if way.startswith("ignored") else "")


PARTS = (
    *(_part("in-the-middle", f"1000-{2 * PIECE}", BIG, way, resumed="must") for way in ("told", "total-unknown", "ignored-chunked")),
    *(_part("past-the-end", f"1000-{BIG + 1000}", BIG, way, resumed="must") for way in ("told", "total-unknown", "ignored-chunked")),
    *(_part("small-past-the-end", f"{SMALL - 10}-{SMALL + 99}", SMALL, way) for way in WAYS),
    *(_part("whole-and-one-more", f"0-{SMALL}", SMALL, way) for way in WAYS),
    *(_part("a-piece-to-the-end", f"7-{2 * PIECE + 6}", 2 * PIECE + 7, way) for way in WAYS),
    *(_part("at-the-end", f"{SMALL}-", SMALL, way, _refused(way)) for way in WAYS),
    *(_part("behind-the-end", f"{SMALL + 5}-{SMALL + 9}", SMALL, way, _refused(way)) for way in WAYS),
    *(_part("last", "-10", SMALL, way) for way in WAYS if not way.startswith("ignored-")),
    *(_part("last-and-more", f"-{SMALL + 50}", SMALL, way) for way in WAYS if not way.startswith("ignored-")),
    *(
        _part("last", "-10", SMALL, way, Fails(4, ("last bytes",), "the length is not known before the end"))
        for way in WAYS if way.startswith("ignored-")
    ),
    Behaviour("part-in-parts", _in_parts, Delivers(""), versions=(content(BIG, 8)[500:],), options=("-r", "500-"), curl=("-r", "500-"),
              resumed="no"),
)
