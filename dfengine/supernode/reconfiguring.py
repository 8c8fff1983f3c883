"""SIGHUP at a supernode: reads its secrets, certificates and settings again."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from dfengine.errors import BadValue
from dfengine.net.authentication import Authentication
from dfengine.net.dialer import Dialer
from dfengine.net.systemd import ServiceManager
from dfengine.net.token_bucket import TokenBucket
from dfengine.settings import SupernodeSettings
from dfengine.supernode.bearer_token import BearerToken
from dfengine.supernode.supernode_state import SupernodeState

if TYPE_CHECKING:
    import ssl

APPLIED = frozenset(("max_bandwidth", "disk_low", "disk_high", "task_expire_time", "revalidate_interval", "log_level", "drain"))
"""Settings that change while the process runs; the others need a restart."""


def dialer_of(settings: SupernodeSettings) -> Dialer:
    """Return a Dialer for requests to peers. Without a CA, peers cannot be verified and are requested without TLS. Raises BadValue."""
    files = (settings.tls_cert, settings.tls_key, settings.tls_ca) if settings.tls_ca else ("", "", "")
    return Dialer(settings.secret_file, files)


class Reconfiguring:
    """settings: those at the start. fresh: reads the settings again, raises BadValue; None: they cannot be read again."""

    def __init__(
        self, state: SupernodeState, settings: SupernodeSettings, fresh: Callable[[], SupernodeSettings] | None,
        authentication: Authentication, tokens: Iterable[BearerToken], tls: ssl.SSLContext | None, limit: TokenBucket,
        manager: ServiceManager,
    ) -> None:
        self._state, self._settings, self._fresh = state, settings, fresh
        self._authentication, self._tokens, self._tls = authentication, tokens, tls
        self._limit, self._manager = limit, manager

    @property
    def drain(self) -> float:
        """The present value of --drain, in seconds."""
        return self._settings.drain

    def reread(self) -> None:
        """Read all files and settings again; if any cannot be read, change nothing."""
        self._manager.reloading()
        state, settings = self._state, self._settings
        try:
            fresh = self._fresh() if self._fresh is not None else settings
            if fresh.disk_high < fresh.disk_low:
                raise BadValue("--disk-high is less than --disk-low")
            dialer = dialer_of(settings)
            self._authentication.reread()
            for token in self._tokens:
                token.reread()
            if self._tls is not None:
                from dfengine.net.tls import reload

                reload((self._tls,), settings.tls_cert, settings.tls_key, settings.tls_ca)
            state.dialer = dialer
        except BadValue as error:
            print(f"dfengine: SIGHUP: {error}: the files read before stay in use", file=sys.stderr)
            state.events.error("reload_failed", reason=str(error))
        else:
            self._apply(fresh)
        self._manager.reloaded()

    def _apply(self, fresh: SupernodeSettings) -> None:
        state = self._state
        changed = {name for name in SupernodeSettings.FIELDS if getattr(fresh, name) != getattr(self._settings, name)}
        applied = {name: getattr(fresh, name) for name in changed & APPLIED}
        self._settings = self._settings.replace(**applied)
        state.settings = state.settings.replace(**applied)
        self._limit.set_rate(state.settings.max_bandwidth, time.monotonic())
        state.fetches.room.set_limits(state.settings.disk_low, state.settings.disk_high)
        state.fetches.revalidate_interval = state.settings.revalidate_interval
        state.events.info("reloaded", changed=",".join(sorted(applied)), needs_restart=",".join(sorted(changed - APPLIED)))
        state.events.set_level(state.settings.log_level)
