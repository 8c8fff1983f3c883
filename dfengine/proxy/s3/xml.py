"""S3's XML responses. Pure.

Keys may contain characters that XML 1.0 does not permit. They are written as S3 does, as numeric references, which most readers refuse:
such readers need `encoding-type=url`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Tree = Iterable[tuple[str, "str | Tree"]]
    """Elements in order: names and contents."""

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

LAST = 253402300799.0
"""Unix seconds of the last moment of a four-digit year."""

_SPECIAL = re.compile("[&<>\"\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_NAMED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


def escaped(text: str) -> str:
    """Escape `text` for an element's content, so that an XML reader decodes it to `text`, as far as XML can express it."""
    return _SPECIAL.sub(lambda match: _NAMED.get(match[0]) or f"&#{ord(match[0])};", text)


def encoded(text: str) -> str:
    """Encode `text` as for `encoding-type=url`; a space becomes %20, which readers decode like a +."""
    return quote(text, safe="/*-._~")


def document(name: str, children: Tree, namespace: str = NAMESPACE) -> bytes:
    """A whole document."""
    opened = f'<{name} xmlns="{namespace}">' if namespace else f"<{name}>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{opened}{_inside(children)}</{name}>'.encode()


def _inside(children: Tree) -> str:
    return "".join(f"<{name}>{escaped(inner) if isinstance(inner, str) else _inside(inner)}</{name}>" for name, inner in children)


def timestamp(seconds: float) -> str:
    """Time in the format of listings, from unix seconds: `2026-11-30T06:50:26.000Z`."""
    return datetime.fromtimestamp(min(max(0.0, seconds), LAST), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
