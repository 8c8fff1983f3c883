"""Permission to read the origin: a supernode grants it to `--origin-limit` downloads at a time.

If the supernode is gone, or does not support such leases, no permission is needed.
"""

from __future__ import annotations

import contextlib
import time
from urllib.parse import urlsplit

from dfengine import codes
from dfengine.client import supernode_answer
from dfengine.client.messages import decode_pulled, encode
from dfengine.client.monitor import Monitor
from dfengine.client.supernode_answer import FILE
from dfengine.client.supernode_session import chance
from dfengine.errors import RemoteError, SupernodeError
from dfengine.net.dialer import Dialer
from dfengine.net.http_client import JSON_HEADERS
from dfengine.settings import SupernodeAddress

CONNECT = 2.0
"""Time-out of connecting in seconds."""

PARK = 10.0
"""Seconds for which the supernode may park a request."""

RENEW = 20.0
"""Seconds between renewals; a third of a lease's duration."""

PATIENCE = 600.0
"""Most seconds to wait for permission."""


class OriginLease:
    """The lease of one download at one supernode. Used by the main thread only."""

    def __init__(self, dialer: Dialer, node: SupernodeAddress, task: str, cid: str, url: str) -> None:
        self._dialer = dialer
        self._node = node
        self._ask = {"task": task, "cid": cid, "origin": urlsplit(url).netloc.rpartition("@")[2].lower()[:300]}
        self._renew = 0.0
        self._held = self._rests = False

    def wait(self, monitor: Monitor) -> None:
        """Wait until the lease is granted, or no supernode answers. Raises TimedOut, or SupernodeError after PATIENCE."""
        until = time.monotonic() + PATIENCE
        monitor.set_state("waits for a turn at the origin")
        while True:
            monitor.check(None)
            left = max(0.1, monitor.deadline - time.monotonic())
            self._held = True  # perhaps, until the answer arrives: a signal may interrupt this
            code = self._request({"wait": min(PARK, left)}, min(PARK + 5.0, left))
            self._held, self._renew = code == codes.SUCCESS, time.monotonic() + RENEW
            if code != codes.WAIT:
                monitor.set_state()
                return
            if time.monotonic() > until:
                raise SupernodeError(f"supernode {self._node} granted this download no turn at the origin within {PATIENCE:.0f} s")
            monitor.pause(0.2 + chance())

    def renew(self, monitor: Monitor, parked: bool) -> None:
        """Renew the lease; call at intervals while it is used. parked: the origin is not read; after two such calls the lease is released.

        When the download is no longer parked, it waits for another lease. Raises as `wait`.
        """
        if parked and self._rests:
            self.release()
        elif self._rests and not parked and not self._held:
            self.wait(monitor)
        self._rests = parked
        if self._held and time.monotonic() > self._renew:
            self._renew = time.monotonic() + RENEW
            self._request({}, 1.0)

    def release(self) -> None:
        """Release the lease for another download; errors are ignored."""
        if self._held:
            self._request({"release": True}, 1.0)
            self._held = False  # not before: `cleanup.release` repeats an interrupted request

    def _request(self, more: dict[str, object], timeout: float) -> int:
        """Return the answer's code, 0 if there is no answer."""
        if supernode_answer.silent_nodes.is_silent(str(self._node)):
            return 0
        with contextlib.suppress(RemoteError):
            connection = self._dialer.connect(self._node.host, self._node.port, timeout=CONNECT, named=self._node.certified)
            with contextlib.closing(connection):
                asked = encode({**self._ask, **more})
                status, body = supernode_answer.request(
                    self._dialer, self._node, connection, "/swarm/origin", JSON_HEADERS, asked, timeout, FILE
                )
                if status == 200:
                    return decode_pulled(body).code
        return 0
