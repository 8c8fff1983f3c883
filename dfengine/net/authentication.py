"""Authenticates requests to a server by the swarm's secrets, which may change while the server runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from dfengine.net.client_quota import SHARE
from dfengine.net.event_log import NO_EVENTS, EventLog
from dfengine.net.http import Request, Response

if TYPE_CHECKING:
    from dfengine.net.secret import Guard

Answer = TypeVar("Answer")


class Authentication:
    """Accepted secrets of one process. files: paths of the swarm's secrets; without files every request is accepted. Raises BadValue.

    share: percent of the sessions that one client may have.
    """

    def __init__(self, files: tuple[str, ...], share: int = SHARE, events: EventLog = NO_EVENTS) -> None:
        self._share = share
        self._events = events
        self.files: tuple[str, ...] = ()
        self._secrets: tuple[bytes, ...] = ()
        self._guards: list[Guard] = []
        if files:
            self._read(files)

    def protect(self, route: Callable[[Request], Answer]) -> Callable[[Request], Answer | Response]:
        """Wrap `route` to refuse requests without a valid secret. Requests are signed for the route's own random server name."""
        if not self._secrets:
            return route
        from dfengine.net.secret import Guard

        guard = Guard(self._secrets, share=self._share)
        self._guards.append(guard)
        return lambda request: guard.answer_name(request) or self._refusal(guard, request) or guard.answer_proof(request) or route(request)

    def _refusal(self, guard: Guard, request: Request) -> Response | None:
        refusal = guard.refusal(request)
        if refusal is not None:
            self._events.warning("secret_refused", client=request.client, path=request.path, reason=refusal.body.decode().strip())
        return refusal

    def reread(self) -> None:
        """Read the files again. Raises BadValue; the previous secrets then stay in use."""
        if self.files:
            self._read(self.files)

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """The secrets that are accepted now; if there are none, every request is accepted."""
        return self._secrets

    def switch_files(self, files: tuple[str, ...]) -> bool:
        """Replace the secrets by those of `files`. False, without a change, unless they share a secret with the current ones.

        The overlap is required so that a change of secret cannot lock out the swarm's current members.
        """
        if not files or not self._secrets:
            return not files and not self._secrets
        from dfengine.net.secret import read_secrets

        secrets = read_secrets(files)
        if not set(secrets) & set(self._secrets):
            return False
        self._set(secrets, files)
        return True

    def _read(self, files: tuple[str, ...]) -> None:
        from dfengine.net.secret import read_secrets

        self._set(read_secrets(files), files)

    def _set(self, secrets: tuple[bytes, ...], files: tuple[str, ...]) -> None:
        self._secrets, self.files = secrets, files
        for guard in self._guards:
            guard.secrets = self._secrets
