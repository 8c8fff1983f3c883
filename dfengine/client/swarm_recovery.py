"""Returns an open file to the swarm after it lost its supernode and switched to the origin.

It searches for a supernode only while a reader waits, with growing pauses, and for TRIES tries. A thread of its own asks, so no read waits
for the answer. A supernode is accepted if it names the same version and piece size, since pieces of two versions never mix. After RETURNS
consecutive returns without a new piece, the file stays with the origin.
"""

from __future__ import annotations

import threading
import time

from dfengine.client.monitor import TICK
from dfengine.client.pull_timing import Backoff
from dfengine.client.supernode_answer import READ
from dfengine.client.supernode_session import REGISTRATION_TIMEOUT, chance, join, leave
from dfengine.client.transfer import join as join_threads
from dfengine.errors import OriginError, RemoteError, SourceGone, SupernodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dfengine.client.messages import Registration
    from dfengine.client.supernode_session import Membership
    from dfengine.client.transfer import Transfer
    from dfengine.net.dialer import Dialer
    from dfengine.settings import SupernodeAddress

PAUSES = 10.0, 300.0
"""First and longest pause between two tries in seconds, plus a random part of up to the same again."""

TRIES = 50
"""Consecutive tries without a supernode: some hours."""

RETURNS = 3
"""Consecutive returns without a new piece."""


class SwarmRecovery:
    """The search of one download. Used by the download thread; `check` does not wait."""

    def __init__(self, dialer: Dialer, nodes: Callable[[], Sequence[SupernodeAddress]], registration: Registration) -> None:
        """nodes: returns the supernodes that may be asked now, without waiting."""
        self._dialer, self._nodes, self._registration = dialer, nodes, registration
        self._tries, self._fruitless = TRIES, 0
        self._stored = -1
        self._thread: threading.Thread | None = None
        self._found: Membership | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._reset_backoff()

    def _reset_backoff(self) -> None:
        self._backoff = Backoff(*PAUSES)
        self._next = time.monotonic() + self._backoff.next(chance())

    def begin(self, transfer: Transfer | None) -> None:
        """Begin a search: the file switches to the origin, for the first time or again."""
        stored = transfer.plan.stored if transfer is not None else 0
        if self._stored < 0 or stored > self._stored:
            self._fruitless, self._tries = 0, TRIES
            self._reset_backoff()
        else:
            self._fruitless += 1

    def check(self, transfer: Transfer) -> bool:
        """Whether a supernode was found: `claim_membership` returns it. Starts a try if one is due. Never waits."""
        if self._found is not None:
            return True
        now = time.monotonic()
        running = self._thread is not None and self._thread.is_alive()
        if running or transfer.parked or now < self._next or not self._tries or self._fruitless >= RETURNS:
            return False
        self._tries -= 1
        self._next = now + self._backoff.next(chance())
        self._thread = threading.Thread(target=self._search, args=(transfer,), name="return", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # too many threads: a later try may find one
            self._thread = None
        return False

    def claim_membership(self, transfer: Transfer) -> Membership | None:
        """Return the membership that was found, which the caller owns."""
        with self._lock:
            found, self._found = self._found, None
        if found is not None:
            self._stored = transfer.plan.stored
        return found

    def _search(self, transfer: Transfer) -> None:
        for node in self._nodes():
            try:
                found = join(self._dialer, node, self._registration, time.monotonic() + REGISTRATION_TIMEOUT, self._pause, patience=READ)
            except RemoteError:
                continue
            with self._lock:
                if not self._closed and _is_same_version(found, transfer):
                    self._found = found
                    break
            leave(found)
            found.connection.close()
        transfer.wake()

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._closed:
                raise SourceGone("the search for a supernode was stopped")
            time.sleep(TICK)

    def close(self) -> None:
        """End the search."""
        with self._lock:
            self._closed, found, self._found = True, self._found, None
        if found is not None:
            leave(found)
            found.connection.close()
        if self._thread is not None:
            join_threads([self._thread], 1.0)


def is_transient(error: RemoteError) -> bool:
    """Whether the error may be transient: no supernode or origin could be reached, or it was too busy."""
    if isinstance(error, OriginError):
        from dfengine.origin.retry import transient

        return transient(error)
    return isinstance(error, SupernodeError | SourceGone)


def _is_same_version(member: Membership, transfer: Transfer) -> bool:
    """Whether the member's pieces may be stored with the transfer's."""
    geometry, known = member.geometry, transfer.file.record.generation
    lengths = {geometry.length, transfer.file.geometry.length} - {-1}
    same = len(lengths) < 2 and geometry.piece_size == transfer.file.geometry.piece_size
    return same and member.native and member.cdn_source != "source" and bool(known) and member.generation == known
