"""Requests with one hostile value each: every field of every endpoint of a supernode, every header of a peer server.

A value is inserted as text into the JSON (or, percent-encoded, into the query), so that numbers may exceed any machine's range
and bytes need not be UTF-8.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote_from_bytes

NUMBERS = [
    b"0", b"1", b"-1", b"-0", b"2147483647", b"2147483648", b"4294967296", b"9007199254740993", b"9223372036854775807",
    b"9223372036854775808", b"-9223372036854775808", b"-9223372036854775809", b"18446744073709551615", b"18446744073709551616",
    b"1" + b"0" * 30, b"-1" + b"0" * 30, b"9" * 5000, b"0.5", b"-0.5", b"4.0", b"1e3", b"1e308", b"-1e308", b"1e999", b"-1e999", b"1e-400",
    b"NaN", b"Infinity", b"-Infinity", b"01", b"+1", b"0x10", b"1_000",
]  # fmt: skip
WORDS = [
    b'""', b'"x"', b'"0"', b'"\\u0000"', b'"\\ud800"', b'"\\ud800\\udc00"', b'"\xff\xfe"', b'"\\u0130\\u00df"', b'"a\\r\\nb: c"',
    b'"../../etc"',
    b'"%00"', b'"%zz"', b'"' + b"x" * 2000 + b'"', b'"' + b"x" * 100_000 + b'"', b'"cdnnode:"', b'"http://[::1"',
    b'"http://a]b/"', b'"//["',
]  # fmt: skip
SHAPES = [
    b"true", b"false", b"null", b"[]", b"{}", b"[[]]", b"[null]", b"[[null,null]]", b'{"a":1}', b"[1]", b"[[1]]", b"[[1,2,3,4]]",
    b'[[0,""]]', b"[" * 5000 + b"]" * 5000,
]  # fmt: skip
VALUES = [*NUMBERS, *WORDS, *SHAPES]
HOLE = "\u25a1"
"""Placeholder of the hostile value in an otherwise valid message."""

Message = dict[str, Any]


def with_hole(message: Message) -> Iterator[tuple[str, Message]]:
    """Yield (place, message with the hole there) for every value within the message, including whole lists and objects."""

    def places(value: Any, path: str) -> Iterator[tuple[str, Any]]:
        yield path, HOLE
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, item in inner:
            for where, made in places(item, f"{path}.{key}"):
                copy = dict(value) if isinstance(value, dict) else list(value)
                copy[key] = made
                yield where, copy

    yield from places(message, "")


def bodies(message: Message) -> Iterator[tuple[str, bytes]]:
    """Yield (label, body) for each place and each value."""
    for place, made in with_hole(message):
        before, _, after = json.dumps(made, ensure_ascii=False).partition(f'"{HOLE}"')
        for value in VALUES:
            yield f"{place}={value[:40]!r}", before.encode() + value + after.encode()


def queries(fields: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    """Yield (label, query string) for each field and each value, with and without quotes, and for each missing field."""
    for name in fields:
        rest = [f"{key}={quote_from_bytes(value.encode())}".encode() for key, value in fields.items() if key != name]
        yield f"{name} is missing", b"&".join(rest)
        for value in {*VALUES, *(value.strip(b'"') for value in WORDS)}:
            if len(value) < 4000:
                yield f"{name}={value[:40]!r}", b"&".join([*rest, name.encode() + b"=" + quote_from_bytes(value).encode()])


def head_values() -> list[bytes]:
    """Values that can be sent in a header."""
    return [value for value in {*VALUES, *(value.strip(b'"') for value in WORDS)} if len(value) < 8000 and b"\0" not in value]


def post(path: str, body: bytes, headers: str = "") -> bytes:
    """A POST request."""
    return f"POST {path} HTTP/1.1\r\nHost: s\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def get(target: bytes, headers: bytes = b"", method: bytes = b"GET") -> bytes:
    """A request without a body."""
    return method + b" " + target + b" HTTP/1.1\r\nHost: s\r\n" + headers + b"\r\n"
