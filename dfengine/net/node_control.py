"""Sends administrative requests to a supernode's control port, one at a time, with JSON in both directions."""

from __future__ import annotations

import json

from dfengine.errors import ProtocolViolation, SupernodeError, SupernodeFull
from dfengine.net.http_client import CONNECT, JSON_HEADERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dfengine.net.dialer import Dialer
    from dfengine.settings import SupernodeAddress

ANSWER = 30.0
"""Seconds to wait for a response: the supernode may read a long list from the disk, or wait for the head of an origin's response."""

FULL = 429, 503
"""HTTP statuses of a supernode that is at a limit."""


class NodeControl:
    """Control requests to one supernode. headers: sent with each request."""

    def __init__(self, dialer: Dialer, node: SupernodeAddress, headers: dict[str, str] | None = None) -> None:
        self.node = node
        self._dialer = dialer
        self._headers = headers or {}

    def request(self, method: str, path: str, fields: dict[str, Any] | None = None, missing: bool = False) -> Any:
        """Send one request and return the response's decoded JSON. missing: return None for a 404. Raises RemoteError."""
        body = json.dumps(fields).encode() if fields is not None else b""
        connection = self._dialer.connect(self.node.host, self.node.port, timeout=CONNECT, named=self.node.certified)
        try:
            status, _, answer = connection.request(method, path, {**self._headers, **(JSON_HEADERS if body else {})}, body, timeout=ANSWER)
        finally:
            connection.close()
        if status == 404 and missing:
            return None
        try:
            found = json.loads(answer.decode())
        except (ValueError, RecursionError):
            found = None
        if status not in (200, 201) or found is None:
            text = answer[:200].decode("ascii", "replace").strip()
            text = "" if text.startswith("<") else text  # an HTML page of some other server
            message = found.get("message") or found.get("detail") if isinstance(found, dict) else text
            kind = SupernodeFull if status in FULL else SupernodeError
            raise kind(f"supernode {self.node} answers {status}: {message or 'no reason: is it a control port?'}")
        return found

    def invalid_answer(self) -> ProtocolViolation:
        """Return the error for a response with impossible content."""
        return ProtocolViolation(f"supernode {self.node} sends an invalid answer")
