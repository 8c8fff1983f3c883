"""A file of http whose own URL is not public, read by a signed URL: the same URL with a query.

A signature may be valid for exactly one Range, so requests carry the Range of the task and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from dfengine.errors import OriginError
from dfengine.origin.body import Body
from dfengine.origin.cancel import Cancel
from dfengine.origin.http import HttpOrigin
from dfengine.origin.version import Version

EXPIRED = frozenset((400, 401, 403))
"""Statuses of a signature that has expired (403 of S3 and Azure, 400 of Google and of S3 for a session's token), or that is for a GET where
a HEAD was sent.
"""

NO_HEAD = EXPIRED | {405, 501}


def is_signed_form(signed: str, url: str) -> bool:
    """Whether `signed` is `url`, which has no query, plus a query: the signer cannot name another server or path."""
    head, mark, query = signed.partition("?")
    return bool(mark and query) and head == url and not set("?#") & set(url)


class SignedOrigin(HttpOrigin):
    """See `http.HttpOrigin`. given: returns the latest signed URL. Raises BadValue."""

    def __init__(self, given: Callable[[], str], headers: Iterable[tuple[str, str]], *, cancel: Cancel, **options: Any) -> None:
        self._given = given
        self._signed = given()
        super().__init__(self._signed, headers, cancel=cancel, **options)

    def open(
        self, start: int = 0, end: int | None = None, *, version: Version | None = None, unless: Version | None = None,
        waiting: Callable[[], None] | None = None,
    ) -> Body:
        """See `http.HttpOrigin.open`."""
        self._renew()
        while True:
            try:
                return super().open(start, end, version=version, unless=unless, waiting=waiting)
            except OriginError as error:
                if error.status not in EXPIRED or not self._renew():
                    raise

    def check_access(self) -> None:
        """Check that the signature permits reading the task. Raises OriginError (status) and its subclasses, SourceGone.

        A HEAD transfers no byte of the file. Where it is refused, as by stores whose signature is for a GET, a GET is sent and its body not
        read.
        """
        body = self._follow([("Range", self._asked)] if self._asked else [], None, None, bare=True)
        body.remaining = 0
        body.close()
        status = body.head.effective_status
        if status in NO_HEAD:
            self.open().close()
        elif status not in (200, 203, 206):
            raise OriginError(f"{body.place} answers {body.head.status} to a signed URL", status)

    def _renew(self) -> bool:
        """Use the URL that was signed since, if there is one; return whether there is."""
        last = self._given()
        if last == self._signed:
            return False
        self.set_url(last)
        self._signed = last
        return True
