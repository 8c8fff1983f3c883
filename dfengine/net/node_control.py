"""One request after the other to a supernode's control port, with JSON both ways, for its administrator."""

from __future__ import annotations

import json

from dfengine.errors import ProtocolViolation, SupernodeError, SupernodeFull

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dfengine.net.dialer import Dialer
    from dfengine.settings import SupernodeAddress

CONNECT = 5.0
"""Seconds to connect."""

ANSWER = 30.0
"""Seconds for an answer: a long list is read from the disk, and the head of an origin's answer is waited for."""

FULL = 429, 503
"""Statuses of a supernode that has as much as it takes."""

JSON = {"Content-Type": "application/json;charset=utf-8"}


class NodeControl:
    """Of one supernode. headers: sent with each request."""

    def __init__(self, dialer: Dialer, node: SupernodeAddress, headers: dict[str, str] | None = None) -> None:
        self.node = node
        self._dialer = dialer
        self._headers = headers or {}

    def ask(self, method: str, path: str, fields: dict[str, Any] | None = None, missing: bool = False) -> Any:
        """What the answer says. missing: None is returned for a 404. Raises RemoteError."""
        body = json.dumps(fields).encode() if fields is not None else b""
        connection = self._dialer.connect(self.node.host, self.node.port, timeout=CONNECT, named=self.node.certified)
        try:
            status, _, answer = connection.request(method, path, {**self._headers, **(JSON if body else {})}, body, timeout=ANSWER)
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
            text = "" if text.startswith("<") else text  # a page of some other server
            message = found.get("message") or found.get("detail") if isinstance(found, dict) else text
            kind = SupernodeFull if status in FULL else SupernodeError
            raise kind(f"supernode {self.node} answers {status}: {message or 'no reason: is it a control port?'}")
        return found

    def nonsense(self) -> ProtocolViolation:
        """For an answer that says what cannot be."""
        return ProtocolViolation(f"supernode {self.node} answers nonsense")
