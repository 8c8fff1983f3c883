"""Fields with which another supernode of the cluster resumes a preheat whose supernode is gone, or the reason why none can. Pure.

They are sent in a notice, which Redis can read. So a preheat is resumed elsewhere only if it was requested without credentials, and only
with headers that are not secret (`origin.request.READABLE`).
"""

from __future__ import annotations

from typing import Any

from dfengine.errors import BadValue
from dfengine.origin.request import is_private, is_readable
from dfengine.supernode.preheat_request import PEERS, Asked, of_fields
from dfengine.task import bare, shown

LONGEST = 3000
"""Length limit of the fields, in bytes of their text."""


def fields_of(asked: Asked, platform: str) -> dict[str, Any] | str:
    """Return the fields of the same request, without credentials; or a text: why no other supernode can resume it.

    platform: of this supernode, the default of an image's platforms.
    """
    if asked.user or asked.password or any(is_private(name) for name, _ in asked.headers) or any(shown(url) != url for url in asked.urls):
        return "had credentials, which only its supernode had"
    closed = next((name for name, _ in asked.headers if not is_readable(name)), "")
    if closed:
        return f"had the header {closed[:64]}, which Redis may not see, so only its supernode had it"
    if any(bare(url) != url for url in asked.urls):
        return "had a query in its URL, which may grant access, so only its supernode had it"
    if asked.insecure or asked.cacerts:
        return "had its own authorities for the origin's certificate, which only its supernode had"
    if asked.scope == PEERS:
        return "was for proxies of that supernode"
    if asked.nodes:
        return "was one supernode's part of an image"
    fields = {
        "type": asked.kind, "urls": list(asked.urls), "headers": dict(asked.headers), "md5": asked.md5, "identifier": asked.identifier,
        "platforms": list(asked.platforms or (platform,)) if asked.kind != "file" else [], "scope": asked.scope, "pin": asked.pinned,
        "concurrent_task_count": asked.at_once,
    }  # fmt: skip
    if len(str(fields).encode("utf-8", "backslashreplace")) > LONGEST or not str(fields).isprintable():
        return "was too long for a notice"
    return fields


def asked_of(fields: dict[str, Any], id: str) -> Asked:
    """Return the request of such fields. Raises BadValue, also for a request that no supernode may send."""
    asked = of_fields(fields).replace(id=id)
    if isinstance(fields_of(asked, ""), str):
        raise BadValue("a supernode sent a preheat that may not move")
    return asked
