"""Opens files on demand and closes those used least recently: many may be known, few are open."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict

from dfengine.errors import StorageError

MOST = 256
"""Files kept open at once beyond those that are being read or written at the moment."""


class Held:
    """An open descriptor. It is closed when nobody refers to this value any more."""

    __slots__ = ("__weakref__", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


class Descriptors:
    """Beyond `most` open files the least recently used one is closed. Safe to use from several threads."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._kept: OrderedDict[OnDemand, Held] = OrderedDict()
        # A garbage collection in the middle may close another file.
        self.turn = threading.RLock()

    def keep(self, file: OnDemand, held: Held) -> None:
        """`file` was just used. Hold `turn`."""
        self._kept[file] = held
        self._kept.move_to_end(file)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def drop(self, file: OnDemand) -> None:
        """Close it once no caller of `hold` uses it. Hold `turn`."""
        self._kept.pop(file, None)


class OnDemand:
    """One file that is opened again when it is used. `fd`: open to read and write; this value's from now on."""

    def __init__(self, path: str, fd: int, descriptors: Descriptors) -> None:
        self.path = path
        state = os.fstat(fd)
        self._same = state.st_dev, state.st_ino
        self._descriptors = descriptors
        self._gone = False
        held = Held(fd)
        self._live = weakref.ref(held)
        with descriptors.turn:
            descriptors.keep(self, held)

    def hold(self) -> Held:
        """Its descriptor, open as long as the caller keeps the result. Raises StorageError: it was removed or replaced."""
        with self._descriptors.turn:
            held = self._live()
            if held is None:
                held = self._open()
                self._live = weakref.ref(held)
            if not self._gone:
                self._descriptors.keep(self, held)
        return held

    def _open(self) -> Held:
        if self._gone:
            raise StorageError(f"{self.path} was removed")
        try:
            held = Held(os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW))
        except OSError as error:
            raise StorageError(f"cannot open {self.path}: {error.strerror}") from error
        state = os.fstat(held.fd)
        if (state.st_dev, state.st_ino) != self._same:
            raise StorageError(f"{self.path} was replaced")
        return held

    def release(self) -> None:
        """It is not used soon: close it once no caller of `hold` uses it."""
        with self._descriptors.turn:
            self._descriptors.drop(self)

    def detach(self) -> None:
        """Its path is about to be replaced or removed: it is not opened again. Readers that hold it go on."""
        with self._descriptors.turn:
            self._gone = True
            self._descriptors.drop(self)
