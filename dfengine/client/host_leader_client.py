"""Coordinates the downloads of one task on a host: one leads and fetches, the others join it and copy its pieces.

The host's peer server (peer.rendezvous) selects the leader, over a connection that each download keeps open while it runs. A leader sends
the descriptors of its pieces, and beats in its page of signals while it runs. Downloads that joined it map that page and wait there.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time

from dfengine.client import thread_start
from dfengine.client.cleanup import release
from dfengine.client.heartbeat import SILENT, STALLED, Heartbeat, Stall
from dfengine.client.transfer import join
from dfengine.errors import LocalError, StorageError
from dfengine.net import fd_passing, fork_safety
from dfengine.storage.signal_page import BEAT, SignalPage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from dfengine.client.leader_place import LeaderPlace
    from dfengine.client.wakeup import Wakeup
    from dfengine.storage.piece_file import PieceFile

ALONE = 60.0
"""Seconds between two beats of a leader that no download has joined: the first download that joins wakes it."""

ANSWER = 5.0
"""Seconds for the peer server to assign a role."""

PLACELESS = 30.0
"""Seconds until a running leader that has sent no `open` is abandoned: its message may be queued at a peer server that does not run."""

DOUBLED = 6
"""Most times that the wait for a leader doubles, while successive leaders make no progress: then the leaders are not the cause."""

ENDING = 5.0
"""Seconds to wait for the end of the beating thread, which may wait for a transfer's lock."""


def open_again(fd: int) -> int:
    """Open the file behind `fd` again, read-only: without the lock and the access rights of `fd`. Raises OSError."""
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)


class HostLeaderClient:
    """The role of one download; use `begin`. `leads`; or `joined`, with the leader's `place` once the leader has one; or neither: alone.

    Both: it leads the downloads of its kind, and copies its pieces from the leader of another kind (peer.host_leader_election).

    One thread uses everything, except for `beat` and a transfer's use of `page`.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock: socket.socket | None = sock
        self.page = SignalPage.create()
        self.leads = self.joined = False
        self.done = False
        """Whether the leader has finished and renamed its file."""
        self.wanted: Callable[[list[int]], None] | None = None
        """Called by the beating thread, while this download leads, with the pieces that other downloads want first."""
        self.progress: Callable[[], int] | None = None
        """Called by that thread: see SignalPage.progress."""
        self.waiting: Callable[[], tuple[bool, int]] | None = None
        """Whether this download waits for its leader now, and how many pieces it has; None: it waits."""
        self.patience = SILENT
        """Seconds until a leader that does not beat is reported. With a longer time, other downloads become the leader first."""
        self.slot = -1
        self.ended_leader = -1
        """Number of the previous leader if that has ended, so that no thread writes to its memory any more; else -1."""
        self._leader = -1
        self.already_open = False
        """Whether this leader's pieces had a place when the server named the leader."""
        self._has_role = False
        """Whether the server has sent this download's role: it leads, it follows a leader, or it is alone."""
        self._reported: Stall | None = None
        """Set after this download reported its leader as silent, until the server names another leader."""
        self.place: LeaderPlace | None = None
        self.leader_page: SignalPage | None = None
        self._to_close: tuple[LeaderPlace | SignalPage, ...] = ()
        self._heartbeat, self._stall = Heartbeat(time.monotonic()), Stall(time.monotonic())
        self._stalled_leaders = 0
        """Number of successive leaders that made no progress."""
        self.ended = False
        """Whether the download has failed or was stopped: no thread fetches, and there are no beats."""
        self._over = False
        self._beating: list[threading.Thread] = []
        try:
            self._wake_up = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        except BaseException:
            self.page.close()
            raise
        fork_safety.register(self)

    @property
    def descriptors(self) -> list[int]:
        """See fork_safety.Open. If a child inherited the connection, it would still lead after this process has ended."""
        sock, given = self._sock, (self.page, self.leader_page, self.place, *self._to_close)
        found = [self._wake_up, *([sock.fileno()] if sock is not None else [])]
        for each in given:
            found += each.descriptors if each is not None else []
        return found

    @classmethod
    def begin(cls, sock: socket.socket, key: str, kind: str, *, first: bool) -> HostLeaderClient:
        """Get a role over `sock`, a connection to the peer server that this value owns from now on. kind: see
        peer.host_leader_election. first: that server was started for this download, which therefore leads.

        Raises LocalError, StorageError: the download continues alone.
        """
        try:
            joining = cls(sock)
        except BaseException:
            sock.close()
            raise
        try:
            sock.settimeout(ANSWER)
            fd_passing.send_message(sock, {"join": key, "kind": kind}, [joining.page.fd])
            if first:
                joining._lead()
            while not (joining.leads or joining.joined):
                if not joining._receive():
                    raise LocalError("the peer server names no leader")
            sock.setblocking(False)
            return joining
        except BaseException as error:
            joining.close()
            if isinstance(error, OSError):
                raise LocalError(f"the peer server names no leader: {error}") from None
            raise

    # Messages from the peer server.

    def receive(self, seconds: float, wakeup: Wakeup | None = None) -> None:
        """Process the peer server's messages for up to `seconds`; return early after `wake` or `wakeup`.

        A leader that does not run, or makes no progress while this download waits, is reported.
        """
        poll = select.poll()
        if wakeup is not None:
            poll.register(wakeup.fd, select.POLLIN)
        poll.register(self._wake_up, select.POLLIN)
        if self._sock is not None:
            poll.register(self._sock, select.POLLIN)
        ready = [fd for fd, _ in poll.poll(max(0.0, seconds) * 1000)]
        if wakeup is not None and wakeup.fd in ready:
            wakeup.wait(0.0)
        if self._wake_up in ready:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake_up)
        if self._sock is not None and self._sock.fileno() in ready:
            try:
                self._receive()
            except BlockingIOError:
                pass
            except OSError:
                self._disconnect()
        page, now = self.leader_page, time.monotonic()
        if self.joined and not self.done and page is not None:
            if self._reported is not None:
                if self._reported.exceeds(None, True, now, SILENT):
                    self._go_alone()
            elif self._leader_failed(page, now):
                self.report()

    def _leader_failed(self, page: SignalPage, now: float) -> bool:
        """Whether the leader does not run, or makes no progress."""
        waits, here = self.waiting() if self.waiting is not None and self.place is not None else (True, 0)
        # All followers of a leader reach this limit at the same time: a download that should lead only in need waits longer here, too.
        patience = (PLACELESS if self.place is None else STALLED) * 2**self._stalled_leaders + self.patience - SILENT
        stalled = self._stall.exceeds((page.progress, here), waits, now, patience)
        return self._heartbeat.silent(page.beats, now, self.patience) or stalled

    def _receive(self) -> bool:
        """Receive messages once. Return False when the server has closed the connection. Raises OSError."""
        assert self._sock is not None
        messages = fd_passing.receive_messages(self._sock)
        if messages is None:
            self._disconnect()
            return False
        for message, descriptors in messages:
            kind = message.get("told")
            self._has_role = self._has_role or kind != "open"
            if kind in ("lead", "follow"):
                if kind == "lead":
                    self.ended_leader = self._leader if message.get("left") is True else -1
                    self._lead()
                if len(descriptors) == 1:
                    self._join(message, descriptors.pop())
            elif kind == "open" and self.joined and self.leader_page is not None:
                from dfengine.client.leader_place import LeaderPlace

                self._close_later(self.place)
                self.place = None
                try:
                    self.place = LeaderPlace.adopt(message.get("place"), descriptors, self.leader_page)
                    self.place.leader, descriptors = self._leader, []
                except (StorageError, OSError, AttributeError):
                    self.leave_leader()  # the leader may never send another place
            elif kind == "done":
                self.done = True
            elif kind == "alone":
                self.joined = False
            fd_passing.discard(descriptors)
        return True

    def _join(self, message: dict[str, Any], fd: int) -> None:
        try:
            page = SignalPage.adopt(fd)
        except StorageError:
            os.close(fd)
            self.leave_leader()
            return
        self._withdraw_wanted()
        self._close_later(self.place, self.leader_page)
        slot, leader = message.get("slot"), message.get("leader")
        self._leader, self.slot = (each if type(each) is int else -1 for each in (leader, slot))
        self.already_open = message.get("open") is True
        self.place, self.leader_page = None, page
        self._stalled_leaders = min(DOUBLED, self._stalled_leaders + 1) if self._stall.waited > PLACELESS else 0
        self.joined, self.done, self._reported = True, False, None
        self._heartbeat, self._stall = Heartbeat(time.monotonic()), Stall(time.monotonic())
        page.join()

    def _lead(self) -> None:
        self._withdraw_wanted()
        self.leads, self.joined, self._reported = True, False, None
        self._close_later(self.place)
        self.place = None
        if not self._beating:
            with contextlib.suppress(LocalError):  # at the limit of threads; others take this leader for stalled, and go on alone
                thread_start.start(threading.Thread(target=self._beat, name="beat", daemon=True), self._beating)

    def _beat(self) -> None:
        """Beat, in a thread of its own, since the main thread may wait for a supernode. It sleeps while no download has joined."""
        page = self.page
        while not (self._over or self.ended):
            calls = page.calls
            joined = page.joined
            page.beat(self.progress() if self.progress is not None and joined else 0)
            if self.wanted is not None and joined:
                self.wanted(page.wanted())
            if not (self._over or self.ended):
                page.await_call(calls, BEAT if page.joined else ALONE)

    def _disconnect(self) -> None:
        """Close the connection to the server. If the leader's place is known, its pieces can still be copied."""
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()
        if self.place is None:
            self.joined = False

    def report(self) -> None:
        """Ask to lead in place of this leader, which continues alone if it runs. A server that does not answer is not running either."""
        if self._sock is None:
            self._go_alone()
        elif self._reported is None:
            self._reported = Stall(time.monotonic())
            self._send({"silent": self._leader})

    def _go_alone(self) -> None:
        self._withdraw_wanted()
        self._disconnect()
        self.joined, self._reported = False, None

    def _withdraw_wanted(self) -> None:
        """Withdraw this download's wishes from the leader's page: a leader that runs then fetches for itself alone."""
        if self.joined and self.leader_page is not None:
            self.leader_page.want(self.slot, ())

    # Messages to the peer server.

    def _send(self, message: dict[str, Any]) -> None:
        if self._sock is not None:
            try:
                fd_passing.send_message(self._sock, message)
            except OSError:
                self._disconnect()

    def open(self, file: PieceFile, output: str, algorithms: list[str]) -> None:
        """Publish the place of the leader's pieces; a second call replaces it. output: see leader_place.output_key. Errors are ignored."""
        if self._sock is None or not self.leads:
            return
        opened: list[int] = []
        try:
            if file.in_memory:
                descriptors = file.descriptors
            else:
                opened += [open_again(file.fd)]
                opened += [open_again(file.record.fd)]
                descriptors = opened
            place = {"memory": file.in_memory, "output": output, "algorithms": algorithms, "at": time.monotonic()}
            fd_passing.send_message(self._sock, {"open": place}, descriptors)
        except OSError:
            self.resign()
        finally:
            fd_passing.discard(opened)

    def finish(self) -> None:
        """Announce that the leader's file has its output name."""
        if self.leads:
            self.page.changed()
            self._send({"say": "done"})
            self.leads = False

    def fail(self) -> None:
        """Announce that the leader cannot get the file, for a reason that concerns the other downloads as well."""
        if self.leads:
            self._send({"say": "failed"})
            self.leads = False

    def leave_leader(self) -> None:
        """Stop copying from the leader. A download that also leads continues to lead."""
        self._withdraw_wanted()
        self.joined = False
        self._close_later(self.place)
        self.place = None
        self._send({"say": "part"})

    def leave_outdated(self) -> None:
        """Leave a leader whose file is an old version. Its other followers stay; this download leads, or follows a later leader."""
        self._withdraw_wanted()
        self._close_later(self.place)
        self.place, self.joined, self._has_role = None, False, False
        self._send({"outdated": self._leader})
        until = time.monotonic() + ANSWER
        while self._sock is not None and not self._has_role and (left := until - time.monotonic()) > 0:
            self.receive(left)
        if not self._has_role:
            self._go_alone()

    def resign(self) -> None:
        """Stop leading and following."""
        if self.leads or self.joined:
            self._withdraw_wanted()
            self.leads = self.joined = False
            self._send({"say": "pass_on"})

    def wake(self) -> None:
        """Wake the thread that is in `receive`. May be called from any thread."""
        with contextlib.suppress(OSError, ValueError):
            os.eventfd_write(self._wake_up, 1)

    def _close_later(self, *given: LeaderPlace | SignalPage | None) -> None:
        """Release places and pages later, when the download is closed: another thread may still read them."""
        self._to_close += tuple(each for each in given if each is not None)

    def end(self) -> None:
        """Set `ended`, so that joined downloads detect the end. `close` is still needed. May be called from any thread."""
        self.ended = True
        if self.page.fd >= 0:
            self.page.call()

    def close(self) -> None:
        """Close the connection: if this download led, another one leads now. Call it after every user of a place or page has ended.

        A second call does the steps that an interrupted call did not do.
        """
        self._over = True
        release(self._disconnect, self._close_page, self._close_places, self._close_wake_up)

    def _close_page(self) -> None:
        if self.page.fd >= 0:
            self.page.call()
            join(self._beating, ENDING)
            if not any(thread.is_alive() for thread in self._beating):
                self.page.close()

    def _close_places(self) -> None:
        self._close_later(self.place, self.leader_page)
        self.place = self.leader_page = None
        while self._to_close:
            self._to_close[-1].close()
            self._to_close = self._to_close[:-1]

    def _close_wake_up(self) -> None:
        fd, self._wake_up = self._wake_up, -1
        if fd >= 0:
            os.close(fd)
