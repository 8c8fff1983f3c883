"""A file that is named by its sha256, as a registry's blobs are: the digest identifies its version where the server sends no validators.

So a broken connection is resumed by a range also at a server that sends no validators. The reader of the file verifies the digest of all of
it, which detects bytes of another version.
"""

from __future__ import annotations

from typing import Any

from dfengine.origin.body import Body
from dfengine.origin.http import HttpOrigin
from dfengine.origin.version import Version


class ContentOrigin(HttpOrigin):
    """See `http.HttpOrigin`. sha256: in hex, of the whole file."""

    def __init__(self, url: str, *args: Any, sha256: str, **options: Any) -> None:
        super().__init__(url, *args, **options)
        self._named = f'"sha256:{sha256}"'

    def _version(self, body: Body, now: float) -> Version:
        version = super()._version(body, now)
        return version if version.etag or version.last_modified or version.coding else version.replace(etag=self._named)

    def _condition(self, version: Version) -> str:
        """No If-Range with the digest: the server does not know this entity-tag, and would respond to a range with the whole file."""
        return "" if version.etag == self._named else super()._condition(version)
