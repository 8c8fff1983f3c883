"""Withdraws downloads and shares: this host's peer server, if it runs, stops serving them at once and notifies the supernodes."""

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
"""Most names in one message, each of up to 200 letters."""


def withdraw(home: Home, names: Iterable[str]) -> None:
    """Withdraw downloads or shares by name. The outputs stay."""
    left = list(dict.fromkeys(names))
    while left:
        some, left = left[:AT_ONCE], left[AT_ONCE:]
        with contextlib.suppress(LocalError):
            fd_passing.send_settings(home.sockets, json.dumps({"withdraw": some}).encode())
        # A server that was not reached detects the removal at its next request for them, or its next check.
        for name in some:
            home.withdraw(name)
