"""Which bytes of a file a request asks for, and whether it wants them at all. Pure.

Source: RFC 9110 sections 13.1 (conditions) and 14 (ranges). A Range that is none is ignored, as section 14.2 has it.
"""

from __future__ import annotations

import re

from dfengine.net.http import BadRequest

MOST_RANGES = 64
"""Ranges of one request. Readers that want more ask one by one when they are refused."""

_RANGE = re.compile(r"(?a)(\d*)-(\d*)")
_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')

Span = tuple[int, int]
"""[start, past) in bytes."""


def parse(text: str, length: int) -> list[Span] | None:
    """Of a Range field and a file of `length` bytes, in the order asked for; None: all of it; []: none of them lies in it.

    Raises BadRequest for too many, or for ranges that together are longer than the file.
    """
    unit, equals, rest = text.partition("=")
    if unit.strip().lower() != "bytes" or not equals:
        return None
    parts = [part.strip(" \t") for part in rest.split(",")]
    found: list[Span] = []
    parts = [part for part in parts if part]
    if not parts:
        return None
    if len(parts) > 4 * MOST_RANGES:
        raise _too_many()
    for part in parts:
        match = _RANGE.fullmatch(part)
        if not match or not (match[1] or match[2]) or len(part) > 40:
            return None
        if not match[1]:
            start, past = max(0, length - int(match[2])), length
        else:
            start, past = int(match[1]), min(length, int(match[2]) + 1 if match[2] else length)
            if match[2] and int(match[2]) < start:
                return None
        if start < past:
            found.append((start, past))
    if len(found) > 1 and (len(found) > MOST_RANGES or sum(past - start for start, past in found) > length):
        raise _too_many()
    return found


def _too_many() -> BadRequest:
    return BadRequest(400, f"at most {MOST_RANGES} ranges that do not overlap are served: ask for one at a time")


def tags(text: str) -> set[str]:
    """The entity-tags of a list, without W/; `*` is itself."""
    return {"*"} if text.strip() == "*" else {tag.removeprefix("W/") for tag in _TAG.findall(text)}


def status(tag: str, if_match: str, if_none_match: str, method: str) -> int:
    """200, or 412 or 304 by the conditions of a request for what has this entity-tag."""
    if if_match and not {"*", tag} & tags(if_match):
        return 412
    if if_none_match and {"*", tag} & tags(if_none_match):
        return 304 if method in ("GET", "HEAD") else 412
    return 200


def applies(tag: str, if_range: str) -> bool:
    """Whether a Range counts: If-Range is not there, or is this very tag; a date says too little."""
    return not if_range or if_range.strip() == tag


def multipart(spans: list[Span], length: int, content_type: str, boundary: str) -> tuple[list[bytes], int]:
    """What stands before each range of a multipart/byteranges body, and at its end; the body's length in bytes."""
    heads = [
        f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: bytes {start}-{past - 1}/{length}\r\n\r\n".encode("latin-1")
        for start, past in spans
    ]
    heads.append(f"\r\n--{boundary}--\r\n".encode("latin-1"))
    return heads, sum(map(len, heads)) + sum(past - start for start, past in spans)
