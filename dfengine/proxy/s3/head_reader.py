"""Reads an object's head by a GET of its first byte, since a signature for GET is not valid for HEAD. Blocks; threads reuse connections."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from typing import TYPE_CHECKING

from dfengine.errors import OriginChanged, OriginError
from dfengine.location import parse, scheme_of
from dfengine.origin.body import Body
from dfengine.origin.cancel import Cancel
from dfengine.origin.curl_transfers import CurlTransfers
from dfengine.origin.head import Head, seconds
from dfengine.origin.local_version import etag
from dfengine.origin.schemes import origin
from dfengine.origin.version import Version
from dfengine.proxy.s3.error import S3Error
from dfengine.proxy.s3.object_head import ObjectHead, object_head
from dfengine.proxy.upstream.timeouts import OWN_REQUEST_SECONDS, Unanswered

if TYPE_CHECKING:
    from dfengine.origin.origin_settings import OriginSettings
    from dfengine.proxy.secret_files import Secrets


class HeadReader:
    """origin_settings: how origins are asked. secrets: files that belong to no bucket, under whatever name.

    `cut` ends all waiting calls.
    """

    def __init__(self, origin_settings: OriginSettings, secrets: Secrets) -> None:
        self._origin_settings = origin_settings
        self._secrets = secrets
        self._cancel = Cancel()
        self._of_thread = threading.local()

    def read(self, url: str, now: float) -> ObjectHead:
        """The head of the object at this URL. now: of the loop's clock. Raises Unanswered, OriginErrors, BadValue, LocalError, S3Error."""
        if scheme_of(url) == "file":
            return self._on_disk(url, now)
        until = time.monotonic() + OWN_REQUEST_SECONDS

        def check_time() -> None:
            if time.monotonic() > until:
                raise Unanswered.of("the store")

        transfers = getattr(self._of_thread, "transfers", None) or CurlTransfers(self._cancel)
        self._of_thread.transfers = None
        try:
            asked = origin(url, self._origin_settings.replace(kept=transfers), self._cancel)
            try:
                body = asked.open(0, 1, waiting=check_time)
            except OriginChanged as error:
                if error.status != 416:
                    raise
                body = asked.open(waiting=check_time)  # it may be empty
            try:
                version = body.version.with_length(body.length)
                if body.remaining == 1:
                    body.read_into(memoryview(bytearray(1)))
            finally:
                body.close()
        except BaseException:
            transfers.close()
            raise
        self._of_thread.transfers = transfers
        if isinstance(body, Body) and any(head.get("location").partition("?")[0].endswith("/") for head in body.redirect_heads):
            raise OriginError(f"{body.place} has a directory there", 404)
        if version.length < 0:
            raise OriginError(f"{body.place} does not state the object's length")
        if not (version.etag or version.last_modified):
            raise S3Error("NotImplemented", f"{body.place} sends neither an entity-tag nor a date, so versions cannot be distinguished")
        if not version.binds:
            raise OriginError(f"{body.place}: the object was changed less than a second ago", 503)
        return object_head(body.head, version, seconds(version.last_modified), now)

    def _on_disk(self, url: str, now: float) -> ObjectHead:
        fd = self._origin_settings.roots.open(parse(url).key)
        try:
            status, secret = os.fstat(fd), self._secrets.has(fd)
        finally:
            os.close(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OriginError("it is a directory", 404)
        if secret:
            raise OriginError("it is one of this proxy's own keys, or is in its home", 403)
        return object_head(Head(200), Version(etag(status), "", status.st_size), status.st_mtime, now)

    def cut(self) -> None:
        """End all waiting calls, when the process ends."""
        with contextlib.suppress(OSError):
            self._cancel.set()
