"""The table of schemes: which class reads the file of a URL.

    http, https   HttpOrigin; RedirectedOrigin for a hub's file at a commit; ContentOrigin for a file that is named by its sha256;
                  SignedOrigin for a file that is read by a signed URL
    s3, gs, az    ObjectOrigin: by a signed URL, or a public one
    hf            HubOrigin: by the Hub's resolve URL
    file          FileOrigin: this machine's own disk, below the directories that may be read

All but the last end in http and are read by `http.HttpOrigin`, the only module that handles versions, redirects and framing.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from dfengine.errors import BadValue, TimedOut
from dfengine.location import CONTENT, OBJECTS, is_at_commit, named_file, scheme_of
from dfengine.origin import credentials
from dfengine.origin.cancel import Cancel
from dfengine.origin.content_origin import ContentOrigin
from dfengine.origin.local_root import Roots, UnrestrictedRoots
from dfengine.origin.origin_settings import OriginSettings
from dfengine.origin.redirected_origin import RedirectedOrigin
from dfengine.origin.signed_origin import SignedOrigin

if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.origin.origin_interface import Origin
    from dfengine.settings import GetSettings


def origin(url: str, settings: OriginSettings, cancel: Cancel, given: Callable[[], str] | None = None) -> Origin:
    """The reader of the file at `url`. given: returns the latest URL that a client has signed for it.

    Raises BadValue, LocalError where an extra is missing.
    """
    scheme = scheme_of(url)
    if not scheme and given is not None:
        return SignedOrigin(given, settings.headers, cancel=cancel, **settings.options())
    if not scheme and settings.content and not is_at_commit(url):
        return ContentOrigin(url, settings.headers, sha256=settings.content, cancel=cancel, **settings.options())
    if not scheme:
        if is_at_commit(url):
            return RedirectedOrigin(url, settings.headers, cancel=cancel, **settings.options())
        return settings.http(url, cancel)
    location = named_file(url)
    if scheme == CONTENT:
        raise BadValue(f"{url} has no origin: hosts that share it serve it")
    if scheme == "file":
        from dfengine.origin.local_file import FileOrigin

        return FileOrigin(location, settings.roots, settings.headers, cancel=cancel, floor=settings.floor)
    if scheme == "hf":
        from dfengine.origin import hub
        from dfengine.origin.hub_origin import HubOrigin

        headers = settings.with_headers(hub.authorization(settings.hub_token(location)))
        return HubOrigin(location, hub.endpoint(os.environ), headers, cancel=cancel, **settings.options())
    from dfengine.origin.object_origin import ObjectOrigin

    if any(name.lower() == "authorization" for name, _ in settings.headers):
        raise BadValue(f"{scheme}:// takes its credentials from the environment, and no Authorization header")
    assert scheme in OBJECTS
    return ObjectOrigin(location, settings.may_sign(location), settings.headers, cancel=cancel, given=given, **settings.options())


def for_download(settings: GetSettings, cancel: Cancel, floor: float = 0.0) -> Origin:
    """The origin of a download. Raises BadValue, LocalError where an extra is missing."""
    return origin(settings.url, settings_for_download(settings, floor), cancel, (lambda: settings.signed) if settings.signed else None)


def settings_for_download(settings: GetSettings, floor: float = 0.0) -> OriginSettings:
    """Settings for the origins of a download: the credentials of its user. Raises BadValue."""
    access = None
    if settings.reach is not None:
        from dfengine.net.origin_access import OriginAccess

        access = OriginAccess(*settings.reach)
    return OriginSettings(
        roots=Roots(settings.roots) if settings.roots else UnrestrictedRoots(), may_sign=lambda location: settings.sign != "none",
        headers=credentials.headers(settings),
        insecure=settings.insecure, cacerts=settings.cacerts, cert=settings.cert, key=settings.key, connect=settings.connect_timeout,
        first=settings.first_byte_timeout, floor=floor, netrc=credentials.netrc_path(settings), access=access,
        content=settings.digest.hex if settings.content and settings.digest is not None else "",
    )


def disposition(settings: GetSettings) -> str:
    """The Content-Disposition of the file at `settings.url`, "" if it has none. Raises OriginError and its subclasses, TimedOut."""
    cancel, until = Cancel(), time.monotonic() + settings.timeout

    def check() -> None:
        if settings.timeout and time.monotonic() > until:
            raise TimedOut.after(settings.timeout, ": the origin has not named the file yet")

    try:
        body = for_download(settings, cancel).open(waiting=check)
        body.close()
        return body.head.get("content-disposition")
    finally:
        cancel.close()
