"""The version of a file that a response belongs to. Pure.

Laws:

1. The first response binds a version by its strong entity-tag; else by its weak one and its Last-Modified; and always by its length.
2. A response whose validators differ, or that lacks those that bind, contributes no byte to that version.
3. Where nothing binds, bytes of two responses are never combined in one file unless digests prove each of them.

RFC 9110 section 8.8 defines validators; 8.8.2.2 when a Last-Modified distinguishes versions: only if the response was made at least a
second later, since a file may change twice within one. A Last-Modified that is not a date binds nothing.
"""

from __future__ import annotations

from dfengine.task import generation
from dfengine.value import Value

LATER = 1.0
"""Minimum seconds from a response's Last-Modified to its Date for the former to bind."""


class Version(Value):
    """The version that a response states. length: bytes, -1 unknown. dated: `last_modified` binds. coding: Content-Encoding, "" for none.
    """

    etag: str = ""
    last_modified: str = ""
    length: int = -1
    dated: bool = True
    coding: str = ""

    @property
    def strong(self) -> str:
        """The strong entity-tag, "" if there is none."""
        return "" if self.etag.startswith("W/") else self.etag

    @property
    def weak(self) -> str:
        """The weak entity-tag in comparable form, without its mark; "" if there is none."""
        return self.etag[2:] if self.etag.startswith("W/") else ""

    @property
    def binds(self) -> bool:
        """Whether another response can be proved to be of this version."""
        return bool(self.etag or (self.last_modified and self.dated))

    @property
    def condition(self) -> str:
        """The value of an If-Range, which takes strong validators only (RFC 9110 section 13.1.5); "" if there is none.

        Two ETag lines, or a value that is not an entity-tag, would match nothing at the origin: each range would be refused.
        """
        if self.etag:
            return self.strong if self.strong.count('"') == 2 and self.strong[:1] == self.strong[-1:] == '"' else ""
        return self.last_modified if self.dated else ""

    @property
    def name(self) -> str:
        """The generation, the same for equal responses; "" when nothing binds."""
        if not self.binds:
            return ""
        return generation(self.etag + self.coding, "" if self.strong else self.last_modified, self.length)

    def with_length(self, length: int) -> Version:
        """This version with the length that another response stated, bytes; -1: unknown."""
        return self.replace(length=length) if self.length < 0 else self

    def covers(self, other: Version) -> bool:
        """Whether bytes of `other`, a later response, are bytes of this version."""
        if not self.binds or self.coding != other.coding or (-1 not in (self.length, other.length) and self.length != other.length):
            return False
        if self.strong:
            return other.strong == self.strong
        # All binding validators must be present again. An origin whose weak entity-tag became a strong one was changed.
        if self.etag and other.weak != self.weak:
            return False
        shown = self.last_modified and (other.last_modified or self.dated)
        return not shown or other.last_modified == self.last_modified
