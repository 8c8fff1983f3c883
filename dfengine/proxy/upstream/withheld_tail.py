"""The body of a response that is passed on and named by its digest: its last part is withheld until the digest is compared. Pure.

The client may be a program that compares no digests, such as curl. A body with a wrong digest is never sent to its end: the connection
is cut, or, if nothing was sent yet, the response is 502.
"""

from __future__ import annotations

import hashlib
import re

from dfengine.proxy.header_fields import bodiless, joined, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.proxy.header_fields import Fields

MIN_WITHHELD = 64 << 10
"""Bytes of a blob to receive before any are sent: a wrong blob of at most this length gets the response 502."""

_WHOLE = re.compile(r"(?a)bytes 0-([0-9]{1,18})/([0-9]{1,18})")


class WithheldTail:
    """Of one response. digest: `sha256:HEX` or another algorithm; `git:HEX` is a git name, of a body of `length` bytes. most: bytes to
    receive before any are sent; memory holds these, and later one part. report: called with the reason if the body is wrong.
    """

    def __init__(self, digest: str, most: int, report: Callable[[str], None], length: int = -1) -> None:
        self.digest = digest
        algorithm, _, self._hex = digest.partition(":")
        self._digest = git_name(length) if algorithm == "git" else hashlib.new(algorithm)
        self._held: bytes | bytearray = bytearray()
        self._most = most
        self._report = report

    def part(self, data: bytes) -> bytes:
        """Add a part of the body; return the bytes that may be sent now."""
        self._digest.update(data)
        if len(self._held) + len(data) <= self._most:
            self._held += data
            return b""
        sent, self._held, self._most = bytes(self._held), data, 0
        return sent

    def end(self, server: str) -> bytes | None:
        """End the body from `server`; return the rest, or None if the digest is wrong."""
        if self._digest.hexdigest() == self._hex:
            return bytes(self._held)
        self._report(wrong(server, self.digest))
        return None


def git_name(length: int) -> hashlib._Hash:
    """The git name of a file of `length` bytes, a SHA-1 to be updated with its content (gitformat-pack(5), objects)."""
    return hashlib.sha1(b"blob %d\0" % length, usedforsecurity=False)


def wrong(server: str, digest: str) -> str:
    """The error message for a body with a wrong digest."""
    return f"{server} has sent other bytes than {digest}: its copy is damaged, or a proxy before it changes responses"


def is_whole(method: str, status: int, fields: Fields) -> bool:
    """Whether a response's body is the whole file that the digest names: not a part, an encoding or an error."""
    if bodiless(method, status) or {each.strip().lower() for each in joined(fields, b"content-encoding").split(",")} - {"", "identity"}:
        return False
    span = _WHOLE.fullmatch(text(fields, b"content-range")) if status == 206 else None
    return status == 200 or (span is not None and int(span[1]) + 1 == int(span[2]))
