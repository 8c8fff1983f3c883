"""Settings for origins: credentials, permitted addresses, and the permitted files of this machine's own disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from dfengine.errors import BadValue
from dfengine.location import OBJECTS, Location, parse
from dfengine.origin import hub
from dfengine.origin.cancel import Cancel
from dfengine.origin.http import HttpOrigin
from dfengine.origin.local_root import Roots
from dfengine.task import redacted_url
from dfengine.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dfengine.net.origin_access import OriginAccess
    from dfengine.origin.curl_transfers import CurlTransfers


class OriginPermissions(Value):
    """A supernode's own resources that any client may use: files of its disk below `roots`, and its credentials for objects at or below
    the locations of `signs`."""

    roots: Roots
    signs: tuple[Location, ...] = ()

    @classmethod
    def parse(cls, roots: Iterable[str], signs: Iterable[str]) -> OriginPermissions:
        """Parse the options --origin-root and --origin-sign. Raises BadValue."""
        found = []
        for url in signs:
            location = parse(url)
            if location.scheme == "file" or location.version:
                raise BadValue(f"--origin-sign {redacted_url(url)[:200]} is no bucket, prefix or repository of {', '.join(OBJECTS)} or hf")
            found.append(location)
        return cls(Roots(roots), tuple(found))

    def may_sign(self, location: Location) -> bool:
        """Whether this supernode's credentials are used for the location."""
        return any(_holds(each, location) for each in self.signs)


def _holds(outer: Location, inner: Location) -> bool:
    if (outer.scheme, outer.place, outer.account) != (inner.scheme, inner.place, inner.account):
        return False
    return not outer.key or inner.key == outer.key or inner.key.startswith(outer.key.removesuffix("/") + "/")


class OriginSettings(Value):
    """Settings for origins. headers, insecure, cacerts, cert, key, connect, first, floor, netrc, access, kept: see `http.HttpOrigin`.

    content: the sha256 in hex that names a file of http, and by which all of it is verified; "": its URL names it.
    roots: files of this machine's own disk that may be read. may_sign: whether this process's own credentials are used for a location.
    """

    roots: Roots
    may_sign: Callable[[Location], bool]
    headers: Iterable[tuple[str, str]] = ()
    insecure: bool = False
    cacerts: Iterable[str | bytes] = ()
    cert: str = ""
    key: str = ""
    connect: float = 0.0
    first: float = 0.0
    floor: float = 0.0
    netrc: str = ""
    access: OriginAccess | None = None
    kept: CurlTransfers | None = None
    content: str = ""

    def http(self, url: str, cancel: Cancel, more: tuple[tuple[str, str], ...] = ()) -> HttpOrigin:
        """The origin of an http URL. more: headers, unless the user's own have them. Raises BadValue."""
        return HttpOrigin(url, self.with_headers(more), cancel=cancel, **self.options())

    def with_headers(self, more: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        """The user's own headers, and those of `more` that are not among them."""
        given = {name.lower() for name, _ in self.headers}
        return (*self.headers, *(header for header in more if header[0].lower() not in given))

    def options(self) -> dict[str, Any]:
        """Keywords of `http.HttpOrigin`."""
        named = ("insecure", "cacerts", "cert", "key", "connect", "first", "floor", "netrc", "access", "kept")
        return {name: self.__dict__[name] for name in named}

    def hub_token(self, location: Location) -> str:
        """This process's own token for the Hub, "" where it is not to be used."""
        return hub.token(os.environ) if self.may_sign(location) else ""
