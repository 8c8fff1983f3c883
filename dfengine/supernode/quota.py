"""Limits on what one client's registrations keep in memory: tasks, and bytes of texts and certificates.

    a registration under way     its texts, from when it is read to its answer
    a task                       its URL, headers and 512 bytes, from its first registration until it is forgotten
    certificates                 once, however many tasks they are of, as long as one of these is there

Each counts for the client that came first. A client at its limit gets new tasks in place of failed ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from itertools import chain
from typing import TYPE_CHECKING, overload
from weakref import WeakValueDictionary, finalize

from dfengine.errors import SupernodeFull
from dfengine.net.quota import Quota
from dfengine.task import client_of

if TYPE_CHECKING:
    from dfengine.supernode.copies.wanted import Wanted

MOST_TASKS = 100_000
"""Tasks in memory, beyond which new ones are refused."""

MOST_BYTES = 128 << 20
OVERHEAD = 512
"""Bytes that a task takes besides its texts."""


class Certificates(Sequence[bytes]):
    """PEM texts that many registrations have in common."""

    __slots__ = ("__weakref__", "_texts")

    def __init__(self, texts: Iterable[bytes]) -> None:
        self._texts = tuple(texts)

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[bytes]: ...
    def __getitem__(self, at: int | slice) -> bytes | Sequence[bytes]:
        return self._texts[at]

    def __len__(self) -> int:
        return len(self._texts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._texts == tuple(other)

    def __hash__(self) -> int:
        return hash(self._texts)


class TaskQuota:
    """share: percent for one client. post: calls a function on the loop's thread. drop: forgets a task that failed."""

    def __init__(self, share: int, post: Callable[..., object], drop: Callable[[str], None]) -> None:
        self._post = post
        self._drop = drop
        self._tasks = Quota(MOST_TASKS, share)
        self._bytes = Quota(MOST_BYTES, share)
        self._kept: dict[str, tuple[str, int]] = {}
        """Task -> (address that it is kept for, bytes)."""
        self._failed: dict[str, dict[str, None]] = {}
        """Client -> its tasks that failed, in that order."""
        self._shared: WeakValueDictionary[bytes, Certificates] = WeakValueDictionary()

    def __len__(self) -> int:
        """Tasks."""
        return len(self._kept)

    @contextmanager
    def registering(self, address: str, size: int) -> Iterator[None]:
        """A registration of `size` bytes is under way. Raises SupernodeFull."""
        self._take(address, size)
        try:
            yield
        finally:
            self._bytes.release(address, size)

    def _take(self, address: str, size: int) -> None:
        if not self._bytes.acquire(address, size):
            raise SupernodeFull(f"this supernode keeps {self._bytes.most} bytes of registrations of {address} already")

    def admit(self, task: str, wanted: Wanted, address: str, more: int = 0) -> None:
        """A task begins. more: bytes that it takes besides what is wanted.

        Raises SupernodeFull when there are as many as may be, in all or of this client.
        """
        for full, whose in ((len(self._kept) >= MOST_TASKS, ""), (self._tasks.full(address), f" of {address}")):
            if full and not self._drop_failed(address):
                raise SupernodeFull(f"this supernode has {self._tasks.most if whose else MOST_TASKS} tasks{whose} already")
        texts = wanted.url, wanted.named, wanted.signed, *chain.from_iterable(wanted.headers)
        size = OVERHEAD + more + sum(map(len, texts))
        self._take(address, size)
        self._tasks.acquire(address)
        self._kept[task] = address, size

    def _drop_failed(self, address: str) -> bool:
        failed = self._failed.get(client_of(address))
        if not failed:
            return False
        task = next(iter(failed))
        self._drop(task)
        self.dismiss(task)
        return True

    def failed(self, task: str) -> None:
        """The task failed: it is kept only to report its error, and may be dropped for another."""
        if task in self._kept:
            self._failed.setdefault(client_of(self._kept[task][0]), {})[task] = None

    def dismiss(self, task: str) -> None:
        """It is forgotten; not known: nothing happens."""
        address, size = self._kept.pop(task, ("", 0))
        if not size:
            return
        self._tasks.release(address)
        self._bytes.release(address, size)
        failed = self._failed.get(client := client_of(address))
        if failed is not None:
            failed.pop(task, None)
            if not failed:
                del self._failed[client]

    def shared(self, texts: Sequence[bytes], address: str) -> Sequence[bytes]:
        """The same certificates as a shared object that is kept once. Raises SupernodeFull."""
        if not texts:
            return texts
        size = sum(map(len, texts))
        digest = sha256(b"\0".join([str(size).encode(), *texts])).digest()
        found = self._shared.get(digest)
        if found is None or found != texts:
            self._take(address, size)
            found = self._shared[digest] = Certificates(texts)
            finalize(found, self._release_certificates, address, size).atexit = False
        return found

    def _release_certificates(self, address: str, size: int) -> None:
        with suppress(RuntimeError):  # the loop has ended, and with it the count; this may be any thread
            self._post(self._bytes.release, address, size)
