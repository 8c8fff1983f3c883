"""Origins drawn from a seed: each response draws its status, validators, framing, cuts, delays and its reaction to a range.

The file may become another version at any response. Cases that no client can detect are excluded: two versions under one validator, a body
without a length that is cut in good order, a length that is less than the body.
"""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass

from tests.origins.answers import head, honest, http_date, refuse, say, send_body
from tests.origins.behaviour import PIECE, content
from tests.origins.server import Exchange, Script

TRANSIENT = ("503 Service Unavailable", "500 Internal Server Error", "429 Too Many Requests", "408 Request Timeout", "502 Bad Gateway")
FINAL = ("404 Not Found", "403 Forbidden", "410 Gone", "401 Unauthorized", "416 Range Not Satisfiable", "204 No Content")
SIZES = (0, 1, 2, 1_000, 16_383, 65_536, 100_000, 300_000)
BIG = (PIECE + 1, 9_000_000)


@dataclass(frozen=True)
class Origin:
    """Properties that a seed draws for all responses. calm: share of plain responses; turns: chance that a response begins a new version.

    validators: which the origin gives (etag, weak, date); shaky: chance that a response omits each of them.
    """

    seed: int
    versions: tuple[bytes, ...]
    calm: float
    turns: float
    validators: frozenset[str]
    shaky: float
    if_range: bool
    ranges: bool
    advertise: bool
    new_etags: bool

    @classmethod
    def of(cls, seed: int) -> Origin:
        """The origin of a seed."""
        chance = random.Random(seed)
        size = chance.choice(BIG) if chance.random() < 0.08 else chance.choice(SIZES)
        count = chance.choice((1, 1, 2, 2, 3))
        sizes = [size if chance.random() < 0.7 else max(0, size - chance.randrange(1, 1 + max(1, size // 3))) for _ in range(count)]
        validators = chance.choice((("etag", "date"), ("etag",), ("weak", "date"), ("weak",), ("date",), ()))
        return cls(
            seed, tuple(dict.fromkeys(content(each, 100 + n) for n, each in enumerate(sizes))), chance.choice((0.3, 0.6, 0.9, 1.0)),
            chance.choice((0.1, 0.4, 0.8)), frozenset(validators), chance.choice((0.0, 0.0, 0.2, 0.5)), chance.random() < 0.6,
            chance.random() < 0.8, chance.random() < 0.8, chance.random() < 0.1,
        )

    def script(self) -> Script:
        """Responses that depend on the seed and on the number of earlier ones."""

        def script(x: Exchange) -> None:
            chance = random.Random(f"{self.seed}-{x.n}")
            with x.server.lock:
                if x.n and chance.random() < self.turns:
                    x.server.now = min(x.server.now + 1, len(self.versions) - 1)
                file = self.versions[x.server.now]
            if chance.random() < 0.08:
                x.pause(chance.choice((0.01, 0.1, 0.3)))
            if chance.random() < self.calm:
                self._file(x, chance, file, True)
            else:
                _odd(self, x, chance, file)

        return script

    def _validators(self, chance: random.Random, n: int, file: bytes) -> tuple[tuple[str, str], ...]:
        number = self.versions.index(file)
        sum_ = zlib.crc32(file) if not self.new_etags else n
        found = []
        for kind, name, value in (
            ("etag", "ETag", f'"{number}-{sum_:x}"'), ("weak", "ETag", f'W/"{number}-{sum_:x}"'),
            ("date", "Last-Modified", http_date(-86400.0 * (10 - number)).replace(http_date(0)[17:25], "00:00:00")),
        ):
            if kind in self.validators and chance.random() >= self.shaky:
                found.append((name, value))
        return tuple(found)

    def _file(self, x: Exchange, chance: random.Random, file: bytes, plain: bool) -> None:
        """A response with the file or a part of it; not `plain`: with a fault."""
        validators = self._validators(chance, x.n, file)
        values = [value for _, value in validators]
        if any(x.request.get(name) and x.request.get(name) in values for name in ("if-none-match", "if-modified-since")):
            return x.send(head("304 Not Modified", validators))
        given = validators + ((("Accept-Ranges", "bytes"),) if self.advertise else ())
        span = x.request.range(len(file)) if self.ranges else None
        if span and self.if_range and (held := x.request.get("if-range")) and held not in values:
            span = None
        if span == (-1, -1):
            return refuse(x, "416 Range Not Satisfiable", (("Content-Range", f"bytes */{len(file)}"),))
        status, data = "200 OK", file
        if span:
            lie = "" if plain else chance.choice(("", "", "total", "other", "none", "short", "whole"))
            said, first, last = _said(lie, *span, len(file))
            if lie != "whole":
                status, data = "206 Partial Content", file[first : last + 1]
                given += (("Content-Range", said),) if said else ()
        framing = chance.choice(("length", "length", "chunked", "close") if len(data) == len(file) else ("length", "length", "chunked"))
        cut = -1 if plain or not data else chance.randrange(len(data))
        # The end of a body without a length cannot be distinguished from a cut in good order.
        reset = framing == "close" or chance.random() < 0.3
        surplus = b"surplus" if plain and framing == "length" and chance.random() < 0.03 else b""
        version = "HTTP/1.0" if framing == "close" and chance.random() < 0.5 else "HTTP/1.1"
        return send_body(x, status, given, data, framing=framing, cut=cut, reset=reset, surplus=surplus, version=version)


def _said(lie: str, first: int, last: int, total: int) -> tuple[str, int, int]:
    """Content-Range, and the first and last byte sent: each fault is visible in it."""
    if lie == "total":
        return f"bytes {first}-{last}/{total + 1}", first, last
    if lie == "other" and last + 1 < total:
        return honest(first + 1, last + 1, total)
    if lie == "none":
        return "", first, last
    if lie == "short" and last > first:
        return honest(first, first + (last - first) // 2, total)
    return honest(first, last, total)


def _odd(origin: Origin, x: Exchange, chance: random.Random, file: bytes) -> None:
    """A response that is not simply the file."""
    kind = chance.choice(("cut", "cut", "cut", "transient", "final", "redirect", "reset", "end", "early", "head"))
    if kind == "transient":
        refuse(x, chance.choice(TRANSIENT), (("Retry-After", "0"),) if chance.random() < 0.3 else ())
    elif kind == "final" and chance.random() < 0.4:
        status = chance.choice(FINAL)
        x.send(head(status, ())) if status[:3] == "204" else refuse(x, status)
    elif kind == "redirect":
        say(x, "302 Found", b"there", (("Location", f"/{x.n}/file"),))
    elif kind == "reset":
        x.rst()
    elif kind == "end":
        x.fin()
    elif kind == "early":
        x.send(b"HTTP/1.1 103 Early Hints\r\nETag: \"early\"\r\nContent-Length: 3\r\n\r\n")
        origin._file(x, chance, file, True)
    elif kind == "head":
        # A truncated head is worthless, whatever its lines state.
        whole = head("200 OK", (("Content-Length", str(len(file))), ("ETag", '"cut"')))
        x.send(whole[: chance.randrange(len(whole) - 3)])
        x.fin()
    else:
        origin._file(x, chance, file, False)
