"""Fields with which another supernode of the cluster resumes a preheat whose supernode is gone, or the reason why none can. Pure.

They are sent in a notice, which Redis can read. So a preheat is resumed elsewhere only if it was requested without credentials, and only
with headers that are not secret (`origin.request.READABLE`).
"""

from __future__ import annotations

from typing import Any

from dfengine.errors import BadValue
from dfengine.origin.request import is_private, is_readable
from dfengine.supernode.preheat_request import PEERS, PreheatRequest, parse_fields
from dfengine.task import redacted_url, shown

MAX_FIELDS = 3000
"""Length limit of the fields, in bytes of their text."""


def resume_fields(request: PreheatRequest, platform: str) -> dict[str, Any] | str:
    """Return the fields of the same request, without credentials; or a text: why no other supernode can resume it.

    platform: of this supernode, the default of an image's platforms.
    """
    private = any(is_private(name) for name, _ in request.headers) or any(shown(url) != url for url in request.urls)
    if request.user or request.password or private:
        return "had credentials, which only its supernode had"
    closed = next((name for name, _ in request.headers if not is_readable(name)), "")
    if closed:
        return f"had the header {closed[:64]}, which Redis may not see, so only its supernode had it"
    if any(redacted_url(url) != url for url in request.urls):
        return "had a query in its URL, which may grant access, so only its supernode had it"
    if request.insecure or request.cacerts:
        return "had its own authorities for the origin's certificate, which only its supernode had"
    if request.scope == PEERS:
        return "was for proxies of that supernode"
    if request.nodes:
        return "was one supernode's part of an image"
    fields = {
        "type": request.kind, "urls": list(request.urls), "headers": dict(request.headers), "md5": request.md5,
        "identifier": request.identifier, "platforms": list(request.platforms or (platform,)) if request.kind != "file" else [],
        "scope": request.scope, "pin": request.pinned, "concurrent_task_count": request.at_once,
    }  # fmt: skip
    if len(str(fields).encode("utf-8", "backslashreplace")) > MAX_FIELDS or not str(fields).isprintable():
        return "was too long for a notice"
    return fields


def request_of(fields: dict[str, Any], id: str) -> PreheatRequest:
    """Return the request of such fields. Raises BadValue, also for a request that no supernode may send."""
    request = parse_fields(fields).replace(id=id)
    if isinstance(resume_fields(request, ""), str):
        raise BadValue("a supernode sent a preheat that may not move")
    return request
