"""A file of the Hugging Face Hub: read by http, bound by the version that the Hub itself states.

After the first response requests name the commit of its X-Repo-Commit, so that a push meanwhile has no effect. The token is sent to the Hub
only: the store's URL is signed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from dfengine.errors import OriginError
from dfengine.location import Location
from dfengine.origin.body import Body
from dfengine.origin.cancel import Cancel
from dfengine.origin.hub import resolve_url
from dfengine.origin.redirected_origin import RedirectedOrigin
from dfengine.origin.version import Version


class HubOrigin(RedirectedOrigin):
    """See `redirected_origin.RedirectedOrigin`. base: the Hub's address. headers: with the token, if one is used. Raises BadValue."""

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
            why = "the token that was sent grants no access" if shown else "no token was sent"
            raise OriginError(f"{error}: {why}", error.status, error.retry_after) from None

    def _version(self, body: Body, now: float) -> Version:
        version = super()._version(body, now)
        heads = [*body.redirect_heads, body.head]
        commit = next(filter(None, (head.get("x-repo-commit") for head in heads)), "")
        if not self._pinned and re.fullmatch(r"[0-9a-f]{40}", commit):
            self.set_url(resolve_url(self._base, self._location, commit))
            self._pinned = True
        return version
