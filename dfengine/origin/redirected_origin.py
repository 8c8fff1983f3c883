"""A file whose server redirects to a store and states the file's validator itself: the store's entity-tag is not stable.

The redirects of the Hugging Face Hub carry the file's own entity-tag (for files of LFS the sha256) and length in X-Linked-Etag and
X-Linked-Size. Without these fields the entity-tag and the length of the final response count.
"""

from __future__ import annotations

from dfengine.errors import OriginError
from dfengine.origin.body import Body
from dfengine.origin.head import Head
from dfengine.origin.http import HttpOrigin
from dfengine.origin.version import Version


class RedirectedOrigin(HttpOrigin):
    """See `http.HttpOrigin`."""

    def _condition(self, version: Version) -> str:
        """No precondition: the store behind the redirect does not know the validator. Each response's version is checked before its body.
        """
        return ""

    def _is_still(self, redirect: Head, version: Version | None) -> bool:
        linked = redirect.get("x-linked-etag")
        return bool(linked) and version is not None and version.etag == linked

    def _version(self, body: Body, now: float) -> Version:
        version = super()._version(body, now)
        linked = next(filter(None, (head.get("x-linked-etag") for head in body.redirect_heads)), "")
        size = next(filter(None, (head.get("x-linked-size") for head in body.redirect_heads)), "")
        if not self._asked and size.isascii() and size.isdigit() and version.length not in (-1, int(size[:20])):
            raise OriginError(f"{body.place} sends {version.length} bytes, and the Hub says that the file has {size[:20]}", final=True)
        return Version(linked, "", version.length, True, version.coding) if linked else version
