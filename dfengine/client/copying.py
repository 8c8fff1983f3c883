"""Copies a piece from this host's leader into another download, and compares it with the leader's digest while copying."""

from __future__ import annotations

import os

import xxhash

from dfengine.client.leader_place import Unusable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.client.leader_place import LeaderPlace
    from dfengine.client.transfer import Transfer

STEP = 512 << 10
"""Bytes of a piece that are read, hashed and written in one step: they fit a core's own cache."""


class PieceCopier:
    """Copies pieces for one transfer; used by one thread."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._buffer = memoryview(bytearray(STEP))

    def copy(self, place: LeaderPlace, n: int) -> bool:
        """Copy piece n, whose bit is set in `place`. Return False, without counting it, when `place` may have changed to another version.

        Raises Unusable for a fault of `place`, StorageError for one of this download's own file.
        """
        source, transfer = place.file, self._transfer
        fd, offset, length = source.locate(n)
        hash_, got = xxhash.xxh3_128(), 0
        while got < length:
            try:
                count = os.preadv(fd, [self._buffer[: min(STEP, length - got)]], offset + got)
            except OSError as error:
                raise Unusable(f"cannot be read: {error.strerror}") from error
            if not count:
                if not source.may_end(n, got):
                    raise Unusable("is cut short")
                break
            part = self._buffer[:count]
            hash_.update(part)
            transfer.file.write_part(n, got, part)
            got += count
        digest = hash_.digest()
        if digest != place.digest(n):
            raise Unusable(f"has a piece {n} that differs from its record")
        if not place.trusted:
            return False
        transfer.add_copied(n, got, digest)
        return True
