"""Which memory of files and streams that have ended is let go: second copies, and what exceeds a share of the host's memory; and which
of it the next download of the same version takes.

A host needs one copy of a version of a task. Of the copies that were handed over, the most complete one stays; one that has ended, and
of which the first has every piece with the same digest, goes once supernodes are told so. What is left is bounded.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter, defaultdict

from dfengine.errors import StorageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Collection, Iterable

    from dfengine.storage.piece_file import PieceFile
    from dfengine.storage.shared import Shared

SHARE = 4
"""What has ended takes a fourth part, at most, of the memory that would be available without it: as much as one file in memory may."""

_UNRECORDED = bytes(16)


class Stream:
    """A file in memory or a stream that is handed over. Times are unix seconds.

    sock: None once its process has closed it. shared: None until the message came. used: of its last use, or of its arrival.
    leaving: the supernodes are told that it is not served any more, and the next turn removes it. given: another process goes on in it.
    digests: algorithm -> hex digest of the whole file, as its process computed them.
    """

    def __init__(self, sock: socket.socket | None, now: float) -> None:
        self.sock = sock
        self.shared: Shared | None = None
        self.used = now
        self.leaving = self.given = False
        self.digests: dict[str, str] = {}

    @property
    def file(self) -> PieceFile | None:
        return self.shared.file if self.shared is not None else None


def copy_for(
    streams: Iterable[Stream], task: str, generation: bytes, piece_size: int, busy: Collection[tuple[int, int]] | None
) -> Stream | None:
    """The most complete one that has ended, for another download of the same version of the task; None: there is none.

    busy: for a download that goes on in that memory, and is the only one that writes there: memory where another process may write still,
    by device and inode. A stream's memory is none for it. None: for one that only reads there.
    """
    running = {inode for stream in streams if stream.sock is not None and stream.file is not None for inode in _inodes(stream.file)}
    best: tuple[int, float] | None = None
    found = None
    for stream in streams:
        if stream.sock is not None or stream.shared is None or (file := stream.file) is None or stream.shared.entry.task != task:
            continue
        if not generation or file.record.generation != generation or file.geometry.piece_size != piece_size:
            continue
        if busy is not None and (stream.given or file.evicts or not {*_inodes(file)}.isdisjoint(running.union(busy))):
            continue
        rank = file.here.count(), stream.used
        if best is None or rank > best:
            best, found = rank, stream
    return found


def ended_in(streams: Iterable[Stream], file: PieceFile) -> list[Stream]:
    """Those that have ended, and whose pieces lie in the memory of `file`."""
    inodes, ended = {*_inodes(file)}, [stream for stream in streams if stream.sock is None]
    return [stream for stream in ended if stream.file is not None and not inodes.isdisjoint(_inodes(stream.file))]


def second_copies(streams: Iterable[Stream]) -> list[Stream]:
    """Those that have ended, and whose pieces another one has as well; that one counts as used when they were."""
    versions: dict[tuple[str, bytes, int], list[tuple[Stream, PieceFile]]] = defaultdict(list)
    for stream in streams:
        if stream.shared is not None and (file := stream.file) is not None and not stream.leaving:
            with contextlib.suppress(StorageError):  # a length that cannot be
                versions[stream.shared.entry.task, file.record.generation, file.geometry.piece_size].append((stream, file))
    gone = []
    for copies in versions.values():
        # A stream evicts pieces while it runs.
        lasting = [copy for copy in copies if copy[0].sock is None or not copy[1].evicts]
        if len(copies) < 2 or not lasting:
            continue
        # An open file may go on in the memory of another, and not in a stream's.
        best, whole = max(lasting, key=lambda copy: (copy[1].here.count(), not copy[1].evicts, copy[0].sock is not None, copy[0].used))
        for stream, file in copies:
            if stream is not best and stream.sock is None and _has(whole, file):
                best.used = max(best.used, stream.used)
                gone.append(stream)
    return gone


def _has(whole: PieceFile, part: PieceFile) -> bool:
    """Every piece of `part` is in `whole`, with the same digest."""
    here, ours, theirs = whole.here, whole.record.digests, part.record.digests
    for first, past in part.here.runs():
        if past > len(here) or not here.all_in_range(first, past):
            return False
        digests = bytes(theirs[16 * first : 16 * past])
        if _UNRECORDED in digests or digests != ours[16 * first : 16 * past]:
            return False
    return True


def beyond(streams: Iterable[Stream], available: int) -> list[Stream]:
    """Those that have ended and must go so that the others take their share of the memory: the least recently used.

    available: bytes of memory that the host has left now. Memory that a running file has, too, is not counted.
    """
    running: set[tuple[int, int]] = set()
    ended: list[tuple[Stream, dict[tuple[int, int], int]]] = []
    for stream in streams:
        if stream.file is not None:
            inodes = _inodes(stream.file)
            if stream.sock is not None:
                running.update(inodes)
            else:
                ended.append((stream, inodes))
    every = {inode: size for _, inodes in ended for inode, size in inodes.items() if inode not in running}
    left, most = sum(every.values()), (available + sum(every.values())) // SHARE
    users = Counter(inode for _, inodes in ended for inode in inodes)
    gone = []
    for stream, inodes in sorted(ended, key=lambda each: each[0].used):
        if left <= most:
            break
        gone.append(stream)
        for inode in inodes:
            users[inode] -= 1
            left -= every.get(inode, 0) if not users[inode] else 0
    return gone


def _inodes(file: PieceFile) -> dict[tuple[int, int], int]:
    """Bytes of memory that the pieces take, by device and inode."""
    found = {}
    for fd in file.descriptors:
        if fd >= 0:
            state = os.fstat(fd)
            found[state.st_dev, state.st_ino] = state.st_blocks * 512
    return found
