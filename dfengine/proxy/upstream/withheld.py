"""The body of an answer that is passed on and named by its digest: its last part is withheld until the digest was compared. Pure.

Who asks for what a digest names may be a program that compares nothing, as curl does. A body that is not what its digest says never gets
to its end: the connection is cut, or, where nothing was sent yet, the answer is 502.
"""

from __future__ import annotations

import hashlib
import re

from dfengine.proxy.fields import bodiless, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.proxy.fields import Fields

LEAST = 64 << 10
"""Bytes of a blob of which nothing is sent before: a wrong one that is not longer is answered with 502."""

_WHOLE = re.compile(r"(?a)bytes 0-([0-9]{1,18})/([0-9]{1,18})")


class Withheld:
    """Of one answer. digest: `sha256:HEX` or the like; `git:HEX` is a git name, of a body of `length` bytes. most: bytes of which nothing
    is sent before more came; in memory are these, and then one part. report: called with the reason when the body was wrong.
    """

    def __init__(self, digest: str, most: int, report: Callable[[str], None], length: int = -1) -> None:
        self.digest = digest
        algorithm, _, self._hex = digest.partition(":")
        self._digest = git_name(length) if algorithm == "git" else hashlib.new(algorithm)
        self._held: bytes | bytearray = bytearray()
        self._most = most
        self._report = report

    def part(self, data: bytes) -> bytes:
        """More of the body came: what may be sent now."""
        self._digest.update(data)
        if len(self._held) + len(data) <= self._most:
            self._held += data
            return b""
        sent, self._held, self._most = bytes(self._held), data, 0
        return sent

    def end(self, place: str) -> bytes | None:
        """All of it came from `place`: the rest, or None where it is wrong."""
        if self._digest.hexdigest() == self._hex:
            return bytes(self._held)
        self._report(wrong(place, self.digest))
        return None


def git_name(length: int) -> hashlib._Hash:
    """The git name of a file of `length` bytes: the sha1 to which its content is added (gitformat-pack(5), objects)."""
    return hashlib.sha1(b"blob %d\0" % length, usedforsecurity=False)


def wrong(place: str, digest: str) -> str:
    """The reason for a server's body that does not have its digest."""
    return f"{place} has sent other bytes than {digest}: its copy is damaged, or what stands before it changes answers"


def is_whole(method: str, status: int, fields: Fields) -> bool:
    """Whether an answer's body is all of the file, as its digest names it: not a part, an encoding, or an error."""
    if bodiless(method, status) or text(fields, b"content-encoding").lower() not in ("", "identity"):
        return False
    span = _WHOLE.fullmatch(text(fields, b"content-range")) if status == 206 else None
    return status == 200 or (span is not None and int(span[1]) + 1 == int(span[2]))
