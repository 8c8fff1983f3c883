"""Opens files on demand and closes the least recently used ones, so that few of many files are open."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict

from dfengine.errors import StorageError
from dfengine.storage.os_errors import storage_error

MAX_OPEN = 256
"""Limit of open files beyond those that are being read or written."""


class OpenDescriptor:
    """An open descriptor, closed with the last reference to this object."""

    __slots__ = ("__weakref__", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


class Descriptors:
    """Limits open files: beyond `most` the least recently used one is closed. Safe to use from several threads."""

    def __init__(self, most: int = MAX_OPEN) -> None:
        self._most = most
        self._kept: OrderedDict[ReopenedFile, OpenDescriptor] = OrderedDict()
        # Reentrant: a garbage collection in the middle may close another file.
        self.turn = threading.RLock()

    def keep(self, file: ReopenedFile, held: OpenDescriptor) -> None:
        """Record that `file` was just used. Hold `turn`."""
        self._kept[file] = held
        self._kept.move_to_end(file)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def drop(self, file: ReopenedFile) -> None:
        """Close the file once no caller of `hold` uses it. Hold `turn`."""
        self._kept.pop(file, None)


class ReopenedFile:
    """One file that is opened again when it is used. `fd`: open to read and write; owned by this object."""

    def __init__(self, path: str, fd: int, descriptors: Descriptors) -> None:
        self.path = path
        state = os.fstat(fd)
        self._same = state.st_dev, state.st_ino
        self._descriptors = descriptors
        self._gone = False
        held = OpenDescriptor(fd)
        self._live = weakref.ref(held)
        with descriptors.turn:
            descriptors.keep(self, held)

    def hold(self) -> OpenDescriptor:
        """The file's descriptor, open as long as the caller holds the result. Raises StorageError: it was removed or replaced;
        OutOfResources."""
        with self._descriptors.turn:
            held = self._live()
            if held is None:
                held = self._open()
                self._live = weakref.ref(held)
            if not self._gone:
                self._descriptors.keep(self, held)
        return held

    def _open(self) -> OpenDescriptor:
        if self._gone:
            raise StorageError(f"{self.path} was removed")
        try:
            held = OpenDescriptor(os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW))
        except OSError as error:
            raise storage_error(f"cannot open {self.path}", error) from error
        state = os.fstat(held.fd)
        if (state.st_dev, state.st_ino) != self._same:
            raise StorageError(f"{self.path} was replaced")
        return held

    def release(self) -> None:
        """Close the file once no caller of `hold` uses it, since it is not used soon."""
        with self._descriptors.turn:
            self._descriptors.drop(self)

    def detach(self) -> None:
        """Never open the file again: its path is about to be replaced or removed. Readers that hold it are not affected."""
        with self._descriptors.turn:
            self._gone = True
            self._descriptors.drop(self)
