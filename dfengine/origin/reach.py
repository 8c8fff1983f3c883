"""How origins are reached: in whose name, by which addresses, and which files of this machine's own disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from dfengine.location import Location
from dfengine.origin import hub
from dfengine.origin.cancel import Cancel
from dfengine.origin.http import HttpOrigin
from dfengine.origin.local_root import Roots
from dfengine.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dfengine.net.access import Access


class Reach(Value):
    """headers, insecure, cacerts, cert, key, connect, first, floor, netrc, access: see `http.HttpOrigin`.

    roots: what may be read of this machine's own disk. may_sign: whether this process's own credentials are used for a location.
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
    access: Access | None = None

    def http(self, url: str, cancel: Cancel, more: tuple[tuple[str, str], ...] = ()) -> HttpOrigin:
        """The origin of an http URL. more: headers, unless the user's own say them. Raises BadValue."""
        return HttpOrigin(url, self.with_headers(more), cancel=cancel, **self.options())

    def with_headers(self, more: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        """The user's own headers, and those of `more` that they do not say."""
        given = {name.lower() for name, _ in self.headers}
        return (*self.headers, *(header for header in more if header[0].lower() not in given))

    def options(self) -> dict[str, Any]:
        """Keywords of `http.HttpOrigin`."""
        named = ("insecure", "cacerts", "cert", "key", "connect", "first", "floor", "netrc", "access")
        return {name: self.__dict__[name] for name in named}

    def hub_token(self, location: Location) -> str:
        """This process's own token for the Hub, "" where it is not to be used."""
        return hub.token(os.environ) if self.may_sign(location) else ""
