"""Changes to the Hub's responses that make clients ask this proxy: links to the Hub become links here, and Xet is not offered. Pure.

Xet is another way to the same bytes, by servers of its own (`xet_names`). By plain HTTP a file is one task, and all of it is compared with
its digest. huggingface_hub refuses plain HTTP for files of more than 50 GB, so these are left to Xet.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urljoin

from dfengine.proxy.header_fields import Fields, text
from dfengine.proxy.hub.reference import PREFIX, is_commit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

LARGEST_PLAIN = 50_000_000_000
"""Maximum number of bytes of a file that huggingface_hub 2.4 fetches by plain HTTP (`constants.MAX_HTTP_DOWNLOAD_SIZE`)."""

DEEPEST = 32

_TAG = re.compile(r'(?:W/)?"([!#-~]+)"')
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")
_XET = b"xetHash"
_LINK = re.compile(r'<([^<>]*)>((?:[^,<>"]|"[^"]*")*)')


def tag_of(fields: Iterable[tuple[bytes, bytes]]) -> str:
    """The entity-tag of the file itself, without quotes, if the Hub states it together with the file's commit; else ""."""
    tag = _TAG.fullmatch(text(fields, b"x-linked-etag") or text(fields, b"etag"))
    return tag[1] if tag is not None and is_commit(text(fields, b"x-repo-commit")) else ""


def digest_of(tag: str) -> str:
    """`sha256:HEX` or `git:HEX` from a file's entity-tag, given without quotes; "" if it is neither."""
    return f"sha256:{tag}" if _SHA256.fullmatch(tag) else f"git:{tag}" if _SHA1.fullmatch(tag) else ""


def own_link(hub: str, target: str, location: str, own: str) -> str:
    """A Location or link in the response to `target` of the Hub at URL `hub`: rewritten to this proxy if it leads to the Hub, else
    absolute.

    own: URL of this proxy as the client uses it, without a path; "" makes the result relative.
    """
    try:
        there = urljoin(hub + target, location)
    except ValueError:
        return location
    if there == hub or there.startswith((f"{hub}/", f"{hub}?")):
        return own + PREFIX + there.removeprefix(hub)
    return there


def own_links(hub: str, target: str, value: bytes, own: str, xet: str) -> bytes:
    """Rewrite a Link field (RFC 8288) like `own_link`.

    xet: links to Xet to keep: `all`, `token` for the one by which a client gets a token for the CAS, "" for none.
    """
    links = []
    for match in _LINK.finditer(value.decode("latin-1")):
        of_xet = re.search(r'rel="?xet(-auth\b)?', match[2])
        if of_xet is None or xet == "all" or (xet == "token" and of_xet[1]):
            links.append(f"<{own_link(hub, target, match[1], own)}>{match[2].rstrip()}")
    return ", ".join(links).encode("latin-1")


def length_of(fields: Iterable[tuple[bytes, bytes]]) -> int:
    """Bytes of the file that a response is about, as the Hub states them; -1 if it does not."""
    size = text(fields, b"x-linked-size")
    return int(size) if size.isascii() and size.isdigit() and len(size) < 19 else -1


def without_xet(fields: Fields) -> Fields:
    """A response's fields without those that lead to Xet; Link fields are not changed."""
    return [field for field in fields if not field[0].lower().startswith(b"x-xet-")]


def plain_json(body: bytes, largest: int = LARGEST_PLAIN) -> bytes:
    """The API's JSON without the fields by which clients use Xet, except for files of more than `largest` bytes.

    Text that is not JSON, or has no such field, is returned as it is.
    """
    if _XET not in body:
        return body
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return body
    _strip(value, largest, 0)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _strip(value: Any, largest: int, depth: int) -> None:
    if depth > DEEPEST:
        return
    if isinstance(value, dict):
        size = value.get("size")
        if not isinstance(size, int) or size <= largest:
            value.pop("xetHash", None)
        for each in value.values():
            _strip(each, largest, depth + 1)
    elif isinstance(value, list):
        for each in value:
            _strip(each, largest, depth + 1)
