"""One reader's position in an open file, and the file-like object for users of fsspec."""

from __future__ import annotations

import io
import os
from operator import index
from typing import TYPE_CHECKING, Any

from dfengine.errors import BadValue

if TYPE_CHECKING:
    from dfengine.filesystem.file_system import FileSystem
    from dfengine.filesystem.open_files import OpenFiles

BUFFER = 64 << 10
"""Bytes of the buffer for small reads and lines; larger reads bypass it."""

MAX_BUFFER = 1 << 30
"""Maximum size of the buffer in bytes."""


class Position(io.RawIOBase):
    """A position in a file, which it holds open until it is closed. url: of the file in `files`."""

    def __init__(self, files: OpenFiles, url: str) -> None:
        self._held, self._file = files.acquire(url)
        self._files = files
        self._at = 0
        super().__init__()

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._file.size

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Offset in bytes of the next read."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Set and return the position in bytes. Raises BadValue below 0, TypeError."""
        offset, whence = index(offset), index(whence)
        if whence not in (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END):
            raise BadValue(f"whence is {whence}, not 0, 1 or 2")
        at = offset + (0 if whence == os.SEEK_SET else self._at if whence == os.SEEK_CUR else self.size)
        if at < 0:
            raise BadValue(f"byte {at} is before the file")
        self._at = at
        return at

    def readinto(self, buffer: Any, /) -> int:
        """Fill `buffer`; fewer bytes are read only at the end of the file."""
        got = self._file.pread_into(self._at, memoryview(buffer).cast("B"))
        self._at += got
        return got

    def readall(self) -> bytes:
        """The rest of the file."""
        found = self._file.pread(self._at, max(0, self.size - self._at))
        self._at += len(found)
        return found

    def close(self) -> None:
        """Release the file. Repeated calls have no effect."""
        if not self.closed:
            super().close()
            self._files.release(self._held)


class Reader(io.BufferedReader):
    """A readable and seekable binary file. fs, path: its file system and path there. When it is unpickled, it opens the file again."""

    mode = "rb"

    def __init__(self, fs: FileSystem, path: str, position: Position, buffer: int) -> None:
        super().__init__(position, buffer)
        self.fs, self.path = fs, path
        self.blocksize = buffer
        self._position = position

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._position.size

    @property
    def full_name(self) -> str:
        """The path as a URL for fsspec."""
        return self.fs.unstrip_protocol(self.path)

    def info(self) -> dict[str, Any]:
        """The description of the file in its file system."""
        return self.fs.info(self.path)  # type: ignore[no-any-return]  # fsspec is untyped

    def __reduce__(self) -> tuple[Any, ...]:
        return _reload, (self.fs, self.path, self.blocksize, self.tell())


def _reload(fs: FileSystem, path: str, buffer: int, at: int) -> Reader:
    reader = fs.open(path, block_size=buffer)
    reader.seek(at)
    return reader  # type: ignore[no-any-return]  # fsspec is untyped
