"""The head of an object: its origin's answer, as the S3 facade gives it to clients. Pure."""

from __future__ import annotations

import re
from email.utils import formatdate

from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.origin.head import Head
    from dfengine.origin.version import Version

TYPE = "binary/octet-stream"
"""Of an object whose origin names no other one: S3's default."""

KEPT = (
    "cache-control", "content-disposition", "content-encoding", "content-language", "expires", "x-amz-storage-class", "x-amz-version-id",
)
"""Fields of the origin's answer that describe the object itself."""

META = ("x-amz-meta-", "x-goog-meta-", "x-ms-meta-")
"""How the names of the user's own fields begin."""

MOST_FIELDS = 4 << 10
"""Bytes of such fields; of an object that has more none is passed on. S3 itself lets a user have 2 KB."""

_STRONG = re.compile(r'"[\x21\x23-\x7e]*"')
_VALUE = re.compile(r"[\t -~\x80-\xff]*")


class ObjectHead(Value):
    """length: bytes. tag: entity-tag, quoted. modified: unix seconds, -1 unknown. version: as records have it (`Version.name`).

    fields: further ones of answers. at: when the origin answered, of the loop's clock.
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
        """As HTTP has it, "" unknown."""
        return formatdate(self.modified, usegmt=True) if self.modified >= 0 else ""


def object_head(head: Head, version: Version, modified: float | None, at: float) -> ObjectHead:
    """Of an answer whose version binds and that says the whole length."""
    found: list[tuple[bytes, bytes]] = []
    for name, values in head.fields.items():
        meta = next((start for start in META if name.startswith(start)), "")
        if (name in KEPT or meta) and all(map(_VALUE.fullmatch, values)):
            renamed = f"x-amz-meta-{name.removeprefix(meta)}" if meta else name
            found.append((renamed.encode("latin-1"), ", ".join(values).encode("latin-1")))
    if sum(len(name) + len(value) for name, value in found) > MOST_FIELDS:
        found = []
    tag = version.strong if _STRONG.fullmatch(version.strong) else f'"{version.name}"'
    given = head.get("content-type")
    content_type = given if given and _VALUE.fullmatch(given) else TYPE
    return ObjectHead(version.length, tag, -1.0 if modified is None else modified, version.name, content_type, tuple(found), at)
