"""SIGHUP at a proxy: read its settings and its files of rules, tokens, passwords, keys and certificates again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from dfengine.errors import DfengineError
from dfengine.proxy import proxy_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.net.event_log import EventLog
    from dfengine.net.systemd import ServiceManager
    from dfengine.proxy.forward.forward_settings import Forwarding
    from dfengine.proxy.proxy_settings import LoadedSettings
    from dfengine.proxy.server import Server
    from dfengine.settings import ProxySettings

APPLIED = frozenset((
    "allow", "token_file", "registries", "registry_auth", "only_registries", "s3_keys", "cache_size", "log_level",
    "rules", "intercept", "connect_ports", "ca_cert", "ca_key", "forward_for_others",
))  # fmt: skip
"""Settings that take effect while the process runs; others need a restart. The files that settings name are always read again."""

class Reconfiguring:
    """now: the current settings. fresh: reads settings and a dfdaemon.yml again, and raises BadValue; None: not possible."""

    def __init__(
        self, server: Server, now: LoadedSettings, fresh: Callable[[], tuple[ProxySettings, Forwarding | None]] | None, events: EventLog,
        manager: ServiceManager,
    ) -> None:
        self._server, self._now, self._fresh = server, now, fresh
        self._events, self._manager = events, manager

    def reload(self) -> None:
        """Read all again. If anything cannot be read, nothing changes."""
        self._manager.reloading()
        before = self._now.settings
        try:
            fresh, legacy = self._fresh() if self._fresh is not None else (before, self._now.legacy)
            changed = {name for name in type(before).FIELDS if getattr(fresh, name) != getattr(before, name)}
            settings = before.replace(**{name: getattr(fresh, name) for name in changed & APPLIED})
            now = proxy_settings.read(settings, legacy)
            self._server.reconfigure(now)
        except DfengineError as error:
            print(f"dfengine: SIGHUP: {error}: the former settings stay in use", file=sys.stderr)
            self._events.error("reload_failed", reason=str(error))
        else:
            self._now = now
            self._events.info("reloaded", changed=",".join(sorted(changed & APPLIED)), needs_restart=",".join(sorted(changed - APPLIED)))
            self._events.set_level(settings.log_level)
        self._manager.reloaded()
