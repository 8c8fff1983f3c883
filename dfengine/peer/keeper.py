"""Keeps what this host shares known: announces it to its supernodes every few seconds, and takes it back when it is changed or over.

Announcements that are repeated also bring a restarted supernode, and one that was not reached before, to know it. They are made in threads,
one at a time for each supernode. Where a supernode that keeps a copy is lost, the next one in the content's order keeps one in its
place: only who shares it knows how many are wanted, and still has all of it when every copy is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from dfengine import codes
from dfengine.errors import BadValue, DfengineError, SourceGone
from dfengine.net.announcing import Announcer, announce
from dfengine.net.dialer import Dialer
from dfengine.net.node_names import ordered_now
from dfengine.settings import SupernodeAddress
from dfengine.storage.home import Home
from dfengine.storage.shared_content import Announced, announcement, digests, is_whole, listed, read
from dfengine.task import task_id

ALIVE = 5.0
"""Seconds between two announcements to one supernode; see `supernode.shares.SILENCE`."""

FEW, SELDOM = 4, 12.0
"""Where a host shares more contents than FEW, seconds between two announcements of each: a supernode has many such hosts."""

LOST = 300.0
"""Seconds without an answer after which another supernode keeps copies in place of one. One that is only restarted has its own still."""

AT_ONCE = 4
"""Supernodes that are spoken to at once."""

LAST = 0.6
"""Seconds for what is taken back when the process ends."""


class Keeper:
    """Used on the loop's thread. port: of this peer server. now: unix seconds. dialer: how it connects now; may raise BadValue."""

    def __init__(self, home: Home, port: int, now: Callable[[], float], dialer: Callable[[], Dialer]) -> None:
        self._home = home
        self._port = port
        self._now = now
        self._dialer = dialer
        self._known: dict[str, Announced] = {}
        self._due: dict[tuple[str, str], float] = {}
        """(name, supernode) -> when it is to be announced next, monotonic seconds; infinity while it is."""
        self._silent: dict[str, float] = {}
        """Supernode -> since when it cannot be reached, monotonic seconds."""
        self._threads: ThreadPoolExecutor | None = None

    def refresh(self) -> None:
        """Announce what is due, and withdraw what has ended; does not wait."""
        shared = {each.name: each for each in listed(self._home)}
        over = [each for each in shared.values() if each.until <= self._now() or not is_whole(self._home, each)]
        whole = {each.of for each in over}  # the manifest of a directory says nothing without its data
        for each in [*over, *(each for each in shared.values() if each.url in whole)]:
            self._home.withdraw(each.name)
            shared.pop(each.name, None)
        for name in self._known.keys() - shared.keys():
            self._take_back(self._known[name])
        self._known = shared
        at = time.monotonic()
        lost = {node for node, since in self._silent.copy().items() if at - since > LOST}
        due: dict[SupernodeAddress, list[tuple[Announced, bool]]] = {}
        for each in shared.values():
            for node, keep in _supernodes(each, lost):
                if self._due.get((each.name, str(node)), 0.0) <= at:
                    self._due[each.name, str(node)] = float("inf")
                    due.setdefault(node, []).append((each, keep))
        for node, contents in due.items():
            self._submit(self._announce, node, contents)

    def end(self, names: Iterable[str]) -> None:
        """The user withdraws them: `refresh` tells the supernodes, also of what `share` itself has announced since the last one."""
        for name in names:
            if (found := read(self._home, name)) is not None:
                self._known[name] = found

    def _submit(self, work: Callable[..., None], *given: object) -> None:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(AT_ONCE, "announce")
        self._threads.submit(work, *given)

    def _announce(self, node: SupernodeAddress, due: list[tuple[Announced, bool]]) -> None:
        """In a thread, over one connection, or another where it breaks: contents, and whether a copy of each is to be kept.

        A supernode that refuses one gets it again as well: it may accept it then.
        """
        pauses = dict.fromkeys([shared.name for shared, _ in due], ALIVE if len(self._known) <= FEW else SELDOM)
        left = due[::-1]
        try:
            while left:
                with self._noting(node), Announcer(self._dialer(), node) as link, contextlib.suppress(DfengineError), self._noting(node):
                    while left:
                        shared, keep = left.pop()
                        content = announcement(shared, self._port, keep=keep)
                        answer = link.announce(content, partial(digests, self._home, shared))
                        self._silent.pop(str(node), None)
                        if answer.code not in (codes.SUCCESS, codes.WAIT):
                            pauses[shared.name] = 6 * ALIVE
        except DfengineError:
            pass  # it is not reached
        finally:
            for shared, _ in due:
                if (shared.name, str(node)) in self._due:
                    self._due[shared.name, str(node)] = time.monotonic() + pauses[shared.name]
                else:
                    self._withdraw(shared, node)  # it was withdrawn meanwhile, and that request may have arrived first

    @contextlib.contextmanager
    def _noting(self, node: SupernodeAddress) -> Iterator[None]:
        """Remember since when it does not answer."""
        try:
            yield
        except SourceGone:
            self._silent.setdefault(str(node), time.monotonic())
            raise

    def _take_back(self, shared: Announced) -> None:
        for key in [key for key in self._due if key[0] == shared.name]:
            del self._due[key]
        for node, _ in _supernodes(shared):
            self._submit(self._withdraw, shared, node)

    def _withdraw(self, shared: Announced, node: SupernodeAddress) -> None:
        with contextlib.suppress(DfengineError):
            announce(self._dialer(), node, announcement(shared, self._port, withdrawn=True), lambda algorithm: b"")

    async def close(self) -> None:
        """The process ends: nothing is served any more. It takes LAST seconds at most."""
        for each in self._known.values():
            self._take_back(each)
        threads, self._threads = self._threads, None
        if threads is not None:
            loop = asyncio.get_running_loop()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(loop.run_in_executor(None, threads.shutdown), LAST)
            threads.shutdown(wait=False, cancel_futures=True)


def _supernodes(shared: Announced, lost: Container[str] = ()) -> list[tuple[SupernodeAddress, bool]]:
    """The supernodes that have its announcement, and whether each keeps a copy; names that were resolved first. lost: others keep copies in
    place of these."""
    given, found = [], []
    with contextlib.suppress(BadValue):
        given = [SupernodeAddress.parse(node) for node in shared.nodes]
        found = ordered_now(map(SupernodeAddress.parse, shared.names), task_id(shared.url)) if shared.names else []
    nodes = found or given
    first = [] if found else [node for node in given if str(node) in shared.keep]
    there = [str(node) for node in (*first, *nodes) if str(node) not in lost]
    keep = set(list(dict.fromkeys(there))[: len(shared.keep)])
    return [(node, str(node) in keep) for node in nodes]
