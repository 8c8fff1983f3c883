"""Announces this host's shared contents to their supernodes periodically, and withdraws those that have changed or ended.

Repeated announcements also reach a supernode that has restarted, or was unreachable before. They are sent in threads, one at a time for
each supernode. Where a supernode that keeps a copy is lost, the next one in the content's order keeps one in its place: only the sharer
knows how many are wanted, and still has all of it when every copy is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Container, Iterable, Iterator
from functools import partial

from dfengine import codes
from dfengine.errors import BadValue, DfengineError, SourceGone
from dfengine.net.content_announcement import Announcer, announce
from dfengine.net.dialer import Dialer
from dfengine.net.node_names import ordered_cached
from dfengine.net.thread_pool import ThreadPool
from dfengine.settings import SupernodeAddress
from dfengine.storage.home import Home
from dfengine.storage.shared_content import SharedContent, announcement, digests, is_whole, listed, read
from dfengine.task import task_id

ALIVE = 5.0
"""Seconds between two announcements to one supernode; see `supernode.shares.SILENCE`."""

FEW, SELDOM = 4, 12.0
"""Above FEW shared contents of a host, seconds between two announcements of each: a supernode has many such hosts."""

LOST = 300.0
"""Seconds without a response after which another supernode keeps copies in place of a silent one. A restarted one still has its own."""

AT_ONCE = 4
"""Limit of supernodes with a request at once."""

LAST = 0.6
"""Limit in seconds of withdrawals when the process ends."""


class ContentAnnouncer:
    """Used on the loop's thread. port: of this peer server. now: unix seconds. dialer: the present connection settings; may raise BadValue.
    """

    def __init__(self, home: Home, port: int, now: Callable[[], float], dialer: Callable[[], Dialer]) -> None:
        self._home = home
        self._port = port
        self._now = now
        self._dialer = dialer
        self._known: dict[str, SharedContent] = {}
        self._due: dict[tuple[str, str], float] = {}
        """(name, supernode) -> when its next announcement is due, monotonic seconds; infinity while one is being sent."""
        self._silent: dict[str, float] = {}
        """Supernode -> since when it cannot be reached, monotonic seconds."""
        self._threads: ThreadPool | None = None

    def refresh(self) -> None:
        """Announce contents that are due, and withdraw those that have ended; does not block."""
        shared = {each.name: each for each in listed(self._home)}
        over = [each for each in shared.values() if each.until <= self._now() or not is_whole(self._home, each)]
        whole = {each.of for each in over}  # the manifest of a directory is useless without its data
        for each in [*over, *(each for each in shared.values() if each.url in whole)]:
            self._home.withdraw(each.name)
            shared.pop(each.name, None)
        for name in self._known.keys() - shared.keys():
            self._withdraw_everywhere(self._known[name])
        self._known = shared
        at = time.monotonic()
        lost = {node for node, since in self._silent.copy().items() if at - since > LOST}
        due: dict[SupernodeAddress, list[tuple[SharedContent, bool]]] = {}
        for each in shared.values():
            for node, keep in _supernodes(each, lost):
                if self._due.get((each.name, str(node)), 0.0) <= at:
                    self._due[each.name, str(node)] = float("inf")
                    due.setdefault(node, []).append((each, keep))
        for node, contents in due.items():
            self._submit(self._announce, node, contents)

    def withdraw(self, names: Iterable[str]) -> None:
        """Withdraw on the user's request: `refresh` notifies the supernodes, also of contents that `share` itself has announced since then.
        """
        for name in names:
            if (found := read(self._home, name)) is not None:
                self._known[name] = found

    def _submit(self, work: Callable[..., None], *given: object) -> None:
        if self._threads is None:
            self._threads = ThreadPool(AT_ONCE, "announce")
        self._threads.submit(work, *given)

    def _announce(self, node: SupernodeAddress, due: list[tuple[SharedContent, bool]]) -> None:
        """Announce contents, each with whether a copy is to be kept. In a thread, over one connection, or another where it breaks.

        A content that the supernode refuses is announced again later: the supernode may accept it then.
        """
        pauses = dict.fromkeys([shared.name for shared, _ in due], ALIVE if len(self._known) <= FEW else SELDOM)
        left = due[::-1]
        try:
            while left:
                with (
                    self._record_silence(node), Announcer(self._dialer(), node) as link, contextlib.suppress(DfengineError),
                    self._record_silence(node),
                ):
                    while left:
                        shared, keep = left.pop()
                        content = announcement(shared, self._port, keep=keep)
                        answer = link.announce(content, partial(digests, self._home, shared))
                        self._silent.pop(str(node), None)
                        if answer.code not in (codes.SUCCESS, codes.WAIT):
                            pauses[shared.name] = 6 * ALIVE
        except DfengineError:
            pass  # the supernode is not reached
        finally:
            for shared, _ in due:
                if (shared.name, str(node)) in self._due:
                    self._due[shared.name, str(node)] = time.monotonic() + pauses[shared.name]
                else:
                    self._withdraw(shared, node)  # it was withdrawn meanwhile, and that request may have arrived first

    @contextlib.contextmanager
    def _record_silence(self, node: SupernodeAddress) -> Iterator[None]:
        """Record since when the supernode does not respond."""
        try:
            yield
        except SourceGone:
            self._silent.setdefault(str(node), time.monotonic())
            raise

    def _withdraw_everywhere(self, shared: SharedContent) -> None:
        for key in [key for key in self._due if key[0] == shared.name]:
            del self._due[key]
        for node, _ in _supernodes(shared):
            self._submit(self._withdraw, shared, node)

    def _withdraw(self, shared: SharedContent, node: SupernodeAddress) -> None:
        with contextlib.suppress(DfengineError):
            announce(self._dialer(), node, announcement(shared, self._port, withdrawn=True), lambda algorithm: b"")

    async def close(self) -> None:
        """Withdraw all contents when the process ends. Takes LAST seconds at most."""
        for each in self._known.values():
            self._withdraw_everywhere(each)
        threads, self._threads = self._threads, None
        if threads is not None:
            loop = asyncio.get_running_loop()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(loop.run_in_executor(None, threads.shutdown), LAST)
            threads.shutdown(wait=False, cancel_futures=True)


def _supernodes(shared: SharedContent, lost: Container[str] = ()) -> list[tuple[SupernodeAddress, bool]]:
    """The supernodes that have its announcement, and whether each keeps a copy; resolved names take precedence. lost: other supernodes keep
    copies in place of these."""
    given, found = [], []
    with contextlib.suppress(BadValue):
        given = [SupernodeAddress.parse(node) for node in shared.nodes]
        found = ordered_cached(map(SupernodeAddress.parse, shared.names), task_id(shared.url)) if shared.names else []
    nodes = found or given
    first = [] if found else [node for node in given if str(node) in shared.keep]
    there = [str(node) for node in (*first, *nodes) if str(node) not in lost]
    keep = set(list(dict.fromkeys(there))[: len(shared.keep)])
    return [(node, str(node) in keep) for node in nodes]
