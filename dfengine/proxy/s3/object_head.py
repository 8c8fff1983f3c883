"""The head of an object: its origin's response, in the form of the S3 facade. Pure."""

from __future__ import annotations

import re
from email.utils import formatdate

from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.origin.head import Head
    from dfengine.origin.version import Version

TYPE = "binary/octet-stream"
"""Content type of an object whose origin states none: S3's default."""

KEPT = (
    "cache-control", "content-disposition", "content-encoding", "content-language", "expires", "x-amz-storage-class", "x-amz-version-id",
)
"""Fields of the origin's response that describe the object itself."""

META = ("x-amz-meta-", "x-goog-meta-", "x-ms-meta-")
"""Prefixes of user-defined fields."""

MAX_FIELDS = 4 << 10
"""Maximum number of bytes of these fields; beyond it none are passed on. S3 itself permits 2 KB of user-defined fields."""

_STRONG = re.compile(r'"[\x21\x23-\x7e]*"')
_VALUE = re.compile(r"[\t -~\x80-\xff]*")


class ObjectHead(Value):
    """length: bytes. tag: entity-tag, quoted. modified: unix seconds, -1 unknown. version: as in records (`Version.name`).

    fields: further fields of responses. at: time of the origin's response, of the loop's clock.
    """

    length: int
    tag: str
    modified: float
    version: str
    content_type: str
    fields: tuple[tuple[bytes, bytes], ...] = ()
    at: float = 0.0

    @property
    def last_modified(self) -> str:
        """The HTTP date, "" unknown."""
        return formatdate(self.modified, usegmt=True) if self.modified >= 0 else ""


def object_head(head: Head, version: Version, modified: float | None, at: float) -> ObjectHead:
    """Made from a response whose version binds and that states the whole length."""
    found: list[tuple[bytes, bytes]] = []
    for name, values in head.fields.items():
        meta = next((start for start in META if name.startswith(start)), "")
        if (name in KEPT or meta) and all(map(_VALUE.fullmatch, values)):
            renamed = f"x-amz-meta-{name.removeprefix(meta)}" if meta else name
            found.append((renamed.encode("latin-1"), ", ".join(values).encode("latin-1")))
    if sum(len(name) + len(value) for name, value in found) > MAX_FIELDS:
        found = []
    tag = version.strong if _STRONG.fullmatch(version.strong) else f'"{version.name}"'
    given = head.get("content-type")
    content_type = given if given and _VALUE.fullmatch(given) else TYPE
    return ObjectHead(version.length, tag, -1.0 if modified is None else modified, version.name, content_type, tuple(found), at)
