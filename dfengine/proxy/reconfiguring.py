"""SIGHUP at a proxy: its settings, and its files of rules, tokens, passwords, keys and certificates, are read again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from dfengine.errors import DfengineError
from dfengine.proxy import given

if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.net.event_log import EventLog
    from dfengine.net.systemd import Manager
    from dfengine.proxy.forward.configured import Forwarding
    from dfengine.proxy.given import Given
    from dfengine.proxy.server import Server
    from dfengine.settings import ProxySettings

APPLIED = frozenset((
    "allow", "token_file", "registries", "registry_auth", "only_registries", "s3_keys", "cache_size", "log_level",
    "rules", "intercept", "connect_ports", "ca_cert", "ca_key", "forward_for_others",
))  # fmt: skip
"""Settings that change while the process runs; the others want another process. What files hold is read whatever their settings are."""

class Reconfiguring:
    """now: what the proxy runs with. fresh: reads settings and a dfdaemon.yml again, and raises BadValue; None: nobody can."""

    def __init__(
        self, server: Server, now: Given, fresh: Callable[[], tuple[ProxySettings, Forwarding | None]] | None, events: EventLog,
        manager: Manager,
    ) -> None:
        self._server, self._now, self._fresh = server, now, fresh
        self._events, self._manager = events, manager

    def reread(self) -> None:
        """Whatever cannot be read, all stays as it was."""
        self._manager.reloading()
        before = self._now.settings
        try:
            fresh, legacy = self._fresh() if self._fresh is not None else (before, self._now.legacy)
            changed = {name for name in type(before).FIELDS if getattr(fresh, name) != getattr(before, name)}
            settings = before.replace(**{name: getattr(fresh, name) for name in changed & APPLIED})
            now = given.read(settings, legacy)
            self._server.become(now)
        except DfengineError as error:
            print(f"dfengine: SIGHUP: {error}: what was read before stays in use", file=sys.stderr)
            self._events.error("reread_failed", reason=str(error))
        else:
            self._now = now
            self._events.info("reread", changed=",".join(sorted(changed & APPLIED)), needs_restart=",".join(sorted(changed - APPLIED)))
            self._events.set_level(settings.log_level)
        self._manager.reloaded()
