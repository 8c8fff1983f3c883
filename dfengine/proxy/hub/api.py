"""A request that is passed on to the Hub: the API's JSON loses the fields that lead to Xet, and links to the Hub become links to this
proxy.

If Xet is offered, the URL of its CAS becomes one of this proxy. If the Hub responds with a file itself, not with a redirect, the file is
compared with the digest in the response.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfengine.proxy.header_fields import Fields
from dfengine.proxy.hub.reference import API, FILE
from dfengine.proxy.hub.response_changes import digest_of, length_of, own_link, own_links, plain_json, tag_of, without_xet
from dfengine.proxy.hub.rewriting import Rewriting
from dfengine.proxy.hub.xet import own_url

if TYPE_CHECKING:
    from dfengine.proxy.front.client_connection import ClientConnection
    from dfengine.proxy.front.requests import Head
    from dfengine.proxy.hub.hub_answer import Hub
    from dfengine.proxy.hub.reference import HubReference


class HubPassThrough(Rewriting):
    """See PassThrough. asked: the reference at the Hub."""

    def __init__(self, client: ClientConnection, request: Head, hub: Hub, asked: HubReference, more: Fields) -> None:
        super().__init__(client, request, hub.upstreams, hub.registry, hub.path + asked.target, more)
        self._hub = hub
        self._asked = asked
        self._token = asked.is_read_token and hub.xet is not None
        self.rewrites = asked.kind == API and hub.xet is not None and (self._token or not asked.by_xet)
        # A body that is rewritten or compared must not be encoded.
        self.plain = self.rewrites or self._compares

    @property
    def _compares(self) -> bool:
        return self._asked.kind == FILE and self._request.method == "GET"

    def answer(self, status: int, reason: bytes, fields: Fields, length: int) -> None:
        fields = self._own(fields)
        digest = digest_of(tag_of(fields)) if self._compares else ""
        if digest and (length >= 0 or not digest.startswith("git:")):
            self._withheld = self._hub.blobs.new_withheld_tail(digest, self._registry, length=length)
        super().answer(status, reason, fields, length)

    def rewritten(self, body: bytes) -> bytes:
        xet = self._hub.xet
        if self._token and xet is not None:
            return xet.names.token(own_url(self._request), body)
        return plain_json(body, self._hub.largest_plain)

    def _own(self, fields: Fields) -> Fields:
        own, hub, target, xet = own_url(self._request), self._hub.url, self._asked.target, self._hub.xet
        keeps = self._asked.by_xet or xet is None or length_of(fields) > self._hub.largest_plain
        found: Fields = []
        for name, value in fields if keeps else without_xet(fields):
            lower = name.lower()
            if lower in (b"location", b"x-xet-refresh-route"):
                value = own_link(hub, target, value.decode("latin-1"), own).encode("latin-1")
            elif lower == b"x-xet-cas-url" and self._token and xet is not None:
                value = xet.names.cas(own, value.decode("latin-1")).encode("latin-1")
            elif lower == b"link":
                value = own_links(hub, target, value, own, "all" if xet is None else "token" if keeps else "")
                if not value:
                    continue
            found.append((name, value))
        return found
