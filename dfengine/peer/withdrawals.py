"""Withdrawals that this host's user requests by `dfengine cache rm`."""

from __future__ import annotations

import json
from collections.abc import Callable

from dfengine.peer.content_announcer import ContentAnnouncer
from dfengine.peer.routes import Deregistration, Routes
from dfengine.storage.home import valid_name


class Withdrawals:
    """Its messages: `{"withdraw": [NAME]}`. notify: called with the downloads to report to supernodes; does not block."""

    def __init__(self, routes: Routes, announcer: ContentAnnouncer, notify: Callable[[list[Deregistration]], None]) -> None:
        self._routes = routes
        self._announcer = announcer
        self._notify = notify

    def __call__(self, message: bytes) -> bool:
        """Whether the message is a withdrawal; if so, its downloads are no longer served."""
        try:
            names = json.loads(message.decode())["withdraw"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return False
        if type(names) is not list or not all(type(name) is str and valid_name(name) for name in names):
            return False
        self._announcer.withdraw(names)
        gone = self._routes.withdraw(names)
        self._announcer.refresh()
        self._notify(gone)
        return True
