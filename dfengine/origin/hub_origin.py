"""A file of the Hugging Face Hub: read by http, bound by what the Hub itself says of it.

The Hub answers with the file, or redirects to a store. The store's entity-tag says nothing that lasts, so a redirect's X-Linked-Etag (for
files of LFS the sha256) binds the version; and from the first answer on the file is asked for at the commit that X-Repo-Commit named, so
that a push meanwhile changes nothing. The token goes to the Hub alone: the store's URL is signed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from dfengine.errors import OriginError
from dfengine.location import Location
from dfengine.origin.body import Body
from dfengine.origin.cancel import Cancel
from dfengine.origin.head import Head
from dfengine.origin.http import HttpOrigin
from dfengine.origin.hub import resolve_url
from dfengine.origin.version import Version


class HubOrigin(HttpOrigin):
    """See `http.HttpOrigin`. base: the Hub's address. headers: with the token, if one is to be shown. Raises BadValue."""

    def __init__(self, location: Location, base: str, headers: Iterable[tuple[str, str]], *, cancel: Cancel, **options: Any) -> None:
        super().__init__(resolve_url(base, location), headers, cancel=cancel, **options)
        self._location, self._base = location, base
        self._pinned = False

    def open(
        self, start: int = 0, end: int | None = None, *, version: Version | None = None, unless: Version | None = None,
        waiting: Callable[[], None] | None = None,
    ) -> Body:
        """See `http.HttpOrigin.open`."""
        try:
            return super().open(start, end, version=version, unless=unless, waiting=waiting)
        except OriginError as error:
            if error.status not in (401, 403):
                raise
            shown = any(name.lower() == "authorization" for name, _ in self._headers)
            why = "the token that was shown opens nothing there" if shown else "no token was shown"
            raise OriginError(f"{error}: {why}", error.status, error.retry_after) from None

    def _condition(self, version: Version) -> str:
        """Nothing that a store behind a redirect could know; each answer of the Hub says its version before a byte comes."""
        return ""

    def _is_still(self, redirect: Head, version: Version | None) -> bool:
        linked = redirect.get("x-linked-etag")
        return bool(linked) and version is not None and version.etag == linked

    def _version(self, body: Body, now: float) -> Version:
        version = super()._version(body, now)
        said = [*body.passed, body.head]
        commit = next(filter(None, (head.get("x-repo-commit") for head in said)), "")
        if not self._pinned and re.fullmatch(r"[0-9a-f]{40}", commit):
            self.aim(resolve_url(self._base, self._location, commit))
            self._pinned = True
        linked = next(filter(None, (head.get("x-linked-etag") for head in body.passed)), "")
        size = next(filter(None, (head.get("x-linked-size") for head in body.passed)), "")
        if not self._asked and size.isascii() and size.isdigit() and version.length not in (-1, int(size[:20])):
            raise OriginError(f"{body.place} sends {version.length} bytes, and the Hub says that the file has {size[:20]}", final=True)
        return Version(linked, "", version.length, True, version.coding) if linked else version
