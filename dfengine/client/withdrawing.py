"""Ends that this host serves something: its peer server, if one runs, lets go of it at once and tells the supernodes."""

from __future__ import annotations

import contextlib
import json

from dfengine.errors import LocalError
from dfengine.net import fd_passing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from dfengine.storage.home import Home

AT_ONCE = 64
"""Names in one message, each of up to 200 letters."""


def withdraw(home: Home, names: Iterable[str]) -> None:
    """Names of downloads, or of what is shared. The outputs stay."""
    left = list(dict.fromkeys(names))
    while left:
        some, left = left[:AT_ONCE], left[AT_ONCE:]
        with contextlib.suppress(LocalError):
            fd_passing.tell(home.sockets, json.dumps({"withdraw": some}).encode())
        # A server that was not reached finds them gone at its next request for them, or its next look.
        for name in some:
            home.withdraw(name)
