"""An object of s3, gs or az: read by http, by a URL that is signed again when its signature has expired.

Law: a refused request is repeated once, if its signature was made for an earlier request. So a signature that expires in mid-file
costs one more request, and an invalid one is refused at once. The version that the first response bound applies to every signature.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from dfengine.errors import OriginError, SourceGone
from dfengine.location import Location
from dfengine.origin.body import Body
from dfengine.origin.cancel import Cancel
from dfengine.origin.http import HttpOrigin
from dfengine.origin.object_address import address
from dfengine.origin.object_store import SECONDS, NoCredentials, check_installed, run_cancellable, signed_url
from dfengine.origin.signed_origin import EXPIRED
from dfengine.origin.version import Version


class ObjectOrigin(HttpOrigin):
    """See `http.HttpOrigin`. sign: with this process's credentials, if it has any; otherwise the object must be public.

    given: returns the latest signed URL of a client, which is used instead. Raises BadValue, LocalError without the extra.
    """

    def __init__(
        self, location: Location, sign: bool, headers: Iterable[tuple[str, str]], *, cancel: Cancel,
        given: Callable[[], str] | None = None, **options: Any,
    ) -> None:
        more = [("x-ms-version", "2023-11-03")] if location.scheme == "az" else []
        if sign and given is None:
            check_installed(location)
        self._client_url = given() if given is not None else ""
        super().__init__(self._client_url or address(location, os.environ), [*headers, *more], cancel=cancel, **options)
        self._location = location
        self._sign = sign and given is None
        self._given = given
        self._unsigned = "" if sign else "no signature was requested"
        self._signed_at = 0.0
        self._turn = threading.Lock()

    def open(
        self, start: int = 0, end: int | None = None, *, version: Version | None = None, unless: Version | None = None,
        waiting: Callable[[], None] | None = None,
    ) -> Body:
        """See `http.HttpOrigin.open`."""
        began = time.monotonic()
        used = self._signature(began - SECONDS / 2, waiting)
        try:
            return super().open(start, end, version=version, unless=unless, waiting=waiting)
        except OriginError as error:
            if error.status not in EXPIRED:
                raise
            if not used or used >= began or self._signature(used + 1e-9, waiting) <= used:
                raise self._refusal(error) from None
        try:
            return super().open(start, end, version=version, unless=unless, waiting=waiting)
        except OriginError as error:
            raise (self._refusal(error) if error.status in EXPIRED else error) from None

    def send_ahead(self) -> None:
        """See `http.HttpOrigin.send_ahead`."""
        self._signature(time.monotonic() - SECONDS / 2, None)
        super().send_ahead()

    def _signature(self, since: float, waiting: Callable[[], None] | None) -> float:
        """When the signature was made, monotonic seconds, 0.0 without one; it is renewed if it is older than `since`."""
        with self._turn:
            if self._given is not None:
                self._signed_at = self._signed_at or since
                if (client_url := self._given()) != self._client_url:
                    self.set_url(client_url)
                    self._client_url, self._signed_at = client_url, time.monotonic()
            elif self._sign and (not self._signed_at or self._signed_at < since):
                try:
                    self.set_url(run_cancellable(partial(signed_url, self._location), self._check(waiting)))
                    self._signed_at = time.monotonic()
                except NoCredentials as error:
                    self._unsigned = str(error)
            return self._signed_at

    def _check(self, waiting: Callable[[], None] | None) -> Callable[[], None]:
        def check() -> None:
            if self.cancel.is_set:
                raise SourceGone("the download was stopped")
            if waiting is not None:
                waiting()

        return check

    def _refusal(self, error: OriginError) -> OriginError:
        """Add the reason for a missing signature, which the user may be able to correct."""
        if self._signed_at:
            whose = "the signature" if self._given is None else "the client's signature"
            return OriginError(f"{error}: {whose} grants no access", error.status, error.retry_after)
        return OriginError(f"{error}: requested without a signature ({self._unsigned})", error.status, error.retry_after)
