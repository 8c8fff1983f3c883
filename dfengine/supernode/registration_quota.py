"""Limits on the memory for one client's registrations: tasks, and bytes of texts and certificates.

    a registration in progress   its texts, from when it is read to its response
    a task                       its URL, headers and 512 bytes, from its first registration until it leaves memory
    certificates                 once for all tasks that have the same, as long as one of these tasks is in memory

Each is charged to the client that registered first. At its limit, a client's new tasks replace its failed ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from itertools import chain
from typing import TYPE_CHECKING, overload
from weakref import WeakValueDictionary, finalize

from dfengine.errors import SupernodeFull
from dfengine.net.client_quota import BoundedQuota, Quota
from dfengine.task import client_of

if TYPE_CHECKING:
    from dfengine.supernode.copies.fetch_request import FetchRequest

MAX_TASKS = 100_000
"""Tasks in memory; further ones are refused."""

MAX_BYTES = 128 << 20
OVERHEAD = 512
"""Bytes that a task takes in addition to its texts."""


class Certificates(Sequence[bytes]):
    """PEM texts that several registrations share."""

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
    """Limits of one supernode. share: percent for one client. post: calls a function on the loop's thread. drop: drops a task."""

    def __init__(self, share: int, post: Callable[..., object], drop: Callable[[str], None]) -> None:
        self._post = post
        self._drop = drop
        self._tasks = Quota(MAX_TASKS, share)
        self._bytes = BoundedQuota(MAX_BYTES, share)
        self._charged: dict[str, tuple[str, int]] = {}
        """Task -> (address of the client charged for it, bytes)."""
        self._failed: dict[str, dict[str, None]] = {}
        """Client -> its failed tasks, in the order of their failures."""
        self._shared: WeakValueDictionary[bytes, Certificates] = WeakValueDictionary()

    def __len__(self) -> int:
        """Return the number of tasks."""
        return len(self._charged)

    @contextmanager
    def registering(self, address: str, size: int) -> Iterator[None]:
        """Charge `size` bytes to a client while its registration is in progress. Raises SupernodeFull."""
        self._charge(address, size)
        try:
            yield
        finally:
            self._bytes.release(address, size)

    def _charge(self, address: str, size: int) -> None:
        if not self._bytes.acquire(address, size):
            raise SupernodeFull(f"this supernode holds as many bytes of registrations of {address}, or of all clients, as it may")

    def admit(self, task: str, wanted: FetchRequest, address: str, more: int = 0) -> None:
        """Charge a new task to a client. more: bytes that it takes in addition to its request.

        Raises SupernodeFull at the limit of all tasks or of this client's.
        """
        for full, whose in ((len(self._charged) >= MAX_TASKS, ""), (self._tasks.full(address), f" of {address}")):
            if full and not self._drop_failed(address):
                raise SupernodeFull(f"this supernode has {self._tasks.limit if whose else MAX_TASKS} tasks{whose} already")
        texts = wanted.url, wanted.task_url, wanted.signed, *chain.from_iterable(wanted.headers)
        size = OVERHEAD + more + sum(map(len, texts))
        self._charge(address, size)
        self._tasks.acquire(address)
        self._charged[task] = address, size

    def _drop_failed(self, address: str) -> bool:
        failed = self._failed.get(client_of(address))
        if not failed:
            return False
        task = next(iter(failed))
        self._drop(task)
        self.release(task)
        return True

    def mark_failed(self, task: str) -> None:
        """Mark a task as failed: it stays in memory to report its error, and may be replaced by another."""
        if task in self._charged:
            self._failed.setdefault(client_of(self._charged[task][0]), {})[task] = None

    def release(self, task: str) -> None:
        """Release the charge of a task; do nothing for an unknown one."""
        address, size = self._charged.pop(task, ("", 0))
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
        """Return the same certificates as an object shared by all registrations. Raises SupernodeFull."""
        if not texts:
            return texts
        size = sum(map(len, texts))
        digest = sha256(b"\0".join([str(size).encode(), *texts])).digest()
        found = self._shared.get(digest)
        if found is None or found != texts:
            self._charge(address, size)
            found = self._shared[digest] = Certificates(texts)
            finalize(found, self._release_certificates, address, size).atexit = False
        return found

    def _release_certificates(self, address: str, size: int) -> None:
        with suppress(RuntimeError):  # the loop has ended, and its counts do not matter; this may be any thread
            self._post(self._bytes.release, address, size)
