"""Ranges and conditions of a request for a file. Pure.

Source: RFC 9110 sections 13.1 (conditions) and 14 (ranges). An invalid Range is ignored, as section 14.2 requires.
"""

from __future__ import annotations

import re

from dfengine.net.http import BadRequest

MAX_RANGES = 64
"""Maximum number of ranges of one request. Readers that need more send single ranges when they are refused."""

_RANGE = re.compile(r"(?a)(\d*)-(\d*)")
_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')

Span = tuple[int, int]
"""[start, past) in bytes."""


def parse(text: str, length: int) -> list[Span] | None:
    """Parse a Range field for a file of `length` bytes. Ranges in the order requested; None: all of the file; []: none is satisfiable.

    Raises BadRequest for too many ranges, or if their total is longer than the file.
    """
    unit, equals, rest = text.partition("=")
    if unit.strip().lower() != "bytes" or not equals:
        return None
    parts = [part.strip(" \t") for part in rest.split(",")]
    found: list[Span] = []
    parts = [part for part in parts if part]
    if not parts:
        return None
    if len(parts) > 4 * MAX_RANGES:
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
    if len(found) > 1 and (len(found) > MAX_RANGES or sum(past - start for start, past in found) > length):
        raise _too_many()
    return found


def _too_many() -> BadRequest:
    return BadRequest(400, f"at most {MAX_RANGES} ranges that do not overlap are served: ask for one at a time")


def tags(text: str) -> set[str]:
    """The entity-tags of a list, without W/; `*` is returned as it is."""
    return {"*"} if text.strip() == "*" else {tag.removeprefix("W/") for tag in _TAG.findall(text)}


def status(tag: str, if_match: str, if_none_match: str, method: str) -> int:
    """200, or 412 or 304 as the conditions of a request require for this entity-tag."""
    if if_match and not {"*", tag} & tags(if_match):
        return 412
    if if_none_match and {"*", tag} & tags(if_none_match):
        return 304 if method in ("GET", "HEAD") else 412
    return 200


def applies(tag: str, if_range: str) -> bool:
    """Whether Range applies: If-Range is absent or equals the entity-tag. A date is not exact enough."""
    return not if_range or if_range.strip() == tag


def multipart(spans: list[Span], length: int, content_type: str, boundary: str) -> tuple[list[bytes], int]:
    """The parts before each range of a multipart/byteranges body, and its end; the body's length in bytes."""
    heads = [
        f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: bytes {start}-{past - 1}/{length}\r\n\r\n".encode("latin-1")
        for start, past in spans
    ]
    heads.append(f"\r\n--{boundary}--\r\n".encode("latin-1"))
    return heads, sum(map(len, heads)) + sum(past - start for start, past in spans)
