"""A preheat of one file: requests it from a supernode (`POST /api/v1/preheats`), and then polls its state."""

from __future__ import annotations

import contextlib
import json
import math
import time

from dfengine.client.download_dialer import DownloadDialer
from dfengine.client.identity import identify, read_certificates
from dfengine.client.messages import encode
from dfengine.client.supernode_session import reason
from dfengine.copy_states import FAILED, SUCCESS
from dfengine.errors import BadValue, ProtocolViolation, RemoteError, SourceGone, SupernodeError, TimedOut
from dfengine.net.http_client import CONNECT, JSON_HEADERS
from dfengine.net.node_names import ordered
from dfengine.programs.handle import Handle
from dfengine.task import redacted_url
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from dfengine.net.http_client import Connection
    from dfengine.settings import GetSettings, SupernodeAddress

ANSWER = 30.0
"""Timeout of a response in seconds: the supernode waits up to 20 s for the head of the origin's response before it responds."""

POLL = 0.05, 1.0
"""Seconds between two queries of the state: at first, and at most; each pause is 1.5 times the one before."""

LOST = 20.0
"""Seconds for which queries to a supernode that stopped answering are repeated."""

OTHERS: dict[str, object] = {"pattern": "p2p", "digest": None, "report_digest": False, "sign": "supernode", "cert": "", "key": ""}
"""Settings for which a preheat request has no field, with the only values that are accepted."""


class Preheated(Value):
    """Result of a preheat: the supernode has the file. node: its address. length: in bytes. seconds: since the request."""

    url: str
    task_id: str
    node: str
    length: int
    seconds: float


class Preheat(Handle[Preheated]):
    """Handle of a preheat. `cancel` ends only the waiting: the supernode continues."""

    def __init__(self, settings: GetSettings, ended: Callable[[Preheat], None]) -> None:
        """ended: see Handle. Raises BadValue."""
        super().__init__(f"the preheat of {redacted_url(settings.url)}", ended)
        if not settings.nodes:
            raise BadValue("nodes: no supernode is given: a preheat needs one")
        for name, usual in OTHERS.items():
            if getattr(settings, name) != usual:
                raise BadValue(f"{name}: a preheat does not support it: omit it")
        self._settings = settings
        self._dialer = DownloadDialer(settings.secret_file, (settings.tls_cert, settings.tls_key, settings.tls_ca))
        self._connection: Connection | None = None
        self._deadline = math.inf
        self._state = ""
        """The step for which it waits, for messages."""

    def _interrupt(self, error: BaseException) -> None:
        self._dialer.shutdown(error)

    def waiting_reason(self) -> str:
        """See Handle."""
        return f": {self._state}" if self._state else ""

    def check(self) -> None:
        """Raise the error of `stop`, if it was called, or TimedOut after the deadline."""
        super().check()
        if time.monotonic() > self._deadline:
            timeout, why = self._settings.timeout, self.waiting_reason()
            raise TimedOut(f"not fetched ahead within {timeout:g} s{why}: the supernode may continue; give it longer")

    def _work(self) -> Preheated:
        began = time.monotonic()
        self._deadline = began + (self._settings.timeout or math.inf)
        try:
            node, task = self._request_preheat()
            task, length = self._await_fetched(node, task)
        finally:
            self._close()
        return Preheated(self._settings.url, task, str(node), length, time.monotonic() - began)

    def _request_preheat(self) -> tuple[SupernodeAddress, str]:
        """The first supernode, in download order, that accepts the request, and the preheat's id. Raises RemoteError."""
        body = self._message()
        failure: RemoteError | None = None
        for node in ordered(self._settings.nodes, identify(self._settings).task, self.check):
            self.check()
            self._state = f"asks supernode {node}" + (f"; {failure}" if failure is not None else "")
            try:
                status, fields = self._exchange(node, "POST", "/api/v1/preheats", body)
            except (SourceGone, ProtocolViolation) as error:
                self._close()
                self.check()
                failure = failure or error
                continue
            task = fields.get("ID")
            if status in (200, 201) and isinstance(task, str) and task:
                return node, task
            raise SupernodeError(f"supernode {node} does not fetch {redacted_url(self._settings.url)} ahead: {_reason(status, fields)}")
        self.check()
        raise SupernodeError(f"no supernode accepted the preheat: {failure}: name one that runs (nodes)") from failure

    def _message(self) -> bytes:
        """The body of the request. Raises BadValue."""
        from dfengine.origin import credentials

        settings = self._settings
        headers = credentials.headers(settings)
        named = {name.lower(): (name, value) for name, value in headers}
        if len(named) < len(headers):
            raise BadValue("headers: a header is given twice")
        message: dict[str, Any] = {"type": "file", "url": settings.url, "filter": settings.filter, "headers": dict(named.values())}
        if settings.insecure or settings.cacerts:
            from base64 import b64encode

            certificates = [b64encode(read_certificates(path)).decode() for path in settings.cacerts]
            message |= {"insecure": settings.insecure, "rootCAs": certificates}
        return encode({**message, "md5": settings.md5, "identifier": settings.identifier})

    def _await_fetched(self, node: SupernodeAddress, task: str) -> tuple[str, int]:
        """Wait until the supernode has the file; return its task and its length in bytes. Raises RemoteError, and TimedOut by `check`."""
        pause, answered = POLL[0], time.monotonic()
        while True:
            self.check()
            try:
                status, fields = self._exchange(node, "GET", f"/api/v1/preheats/{task}")
                answered = time.monotonic()
                self._state = f"supernode {node} fetches it"
            except (SourceGone, ProtocolViolation) as error:
                self._close()
                self._state = f"seeks supernode {node} again: {error}"
                if time.monotonic() - answered > LOST:
                    raise SupernodeError(f"supernode {node} was lost: {error}: preheat again when it runs") from error
            else:
                state = fields.get("status") if status == 200 else FAILED
                if state == FAILED:
                    url = redacted_url(self._settings.url)
                    raise SupernodeError(f"supernode {node} could not fetch {url} ahead: {_reason(status, fields)}")
                if state == SUCCESS and "tasks" in fields:
                    return _count_and_length(fields)
                if state == SUCCESS:  # a supernode of 1.x
                    found, known = self._exchange(node, "GET", f"/api/v1/tasks/{task}")
                    return _count_and_length({"tasks": [{"taskId": task, "length": known.get("httpFileLength") if found == 200 else -1}]})
            self._sleep(pause)
            pause = min(POLL[1], pause * 1.5)

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, POLL[0]))

    def _exchange(self, node: SupernodeAddress, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, Any]]:
        """Send a request; return the status and the object of the response. Raises SourceGone, ProtocolViolation."""
        if self._connection is None or not self._connection.usable:
            self._close()
            self._connection = self._dialer.connect(node.host, node.port, timeout=self._remaining(CONNECT), named=node.certified)
        status, _, answer = self._connection.request(method, path, JSON_HEADERS, body, timeout=self._remaining(ANSWER))
        try:
            fields = json.loads(answer)
        except (ValueError, RecursionError):
            page = answer.lstrip()[:1] == b"<"  # HTML, which no supernode sends
            fields = [] if page else {"message": answer[:200].decode("ascii", "replace").strip()}
        if not isinstance(fields, dict):
            raise ProtocolViolation(f"{node} does not answer as a supernode does (HTTP {status})")
        return status, fields

    def _remaining(self, seconds: float) -> float:
        """`seconds`, limited to the time before the deadline."""
        return max(0.05, min(seconds, self._deadline - time.monotonic()))

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()


def _count_and_length(fields: dict[str, Any]) -> tuple[str, int]:
    """Task and length of the one file of a preheat that has ended. Raises ProtocolViolation."""
    tasks = fields.get("tasks")
    only = tasks[0] if isinstance(tasks, list) and len(tasks) == 1 and isinstance(tasks[0], dict) else {}
    task, length = only.get("taskId"), only.get("length")
    if not isinstance(task, str) or type(length) is not int or length < 0:
        raise ProtocolViolation("the supernode reports success without a task and a length")
    return task, length


def _reason(status: int, fields: dict[str, Any]) -> str:
    """A supernode's error message, on one line."""
    return reason(str(fields.get("message") or fields.get("errorMsg") or f"HTTP {status}"))
