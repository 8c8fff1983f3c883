"""Selects memory of ended files and streams that is released: second copies, and the excess over a share of the host's memory; and
memory that the next download of the same version takes over.

A host needs one copy of a version of a task. Of the copies that were passed to the server, the most complete one stays. One that has ended,
and of which that one has every piece with the same digest, is removed once supernodes are notified. The remaining memory is bounded.
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
    from dfengine.storage.served_file import ServedFile

SHARE = 4
"""Ended files and streams take at most a fourth of the memory that would be available without them: the same limit as for one file in
memory."""

_UNRECORDED = bytes(16)


class Stream:
    """A file in memory or a stream that was passed to the server. Times are unix seconds.

    sock: None once its process has closed it. shared: None until the message arrived. used: of its last use, or of its arrival.
    leaving: supernodes are notified that it is not served any more, and the next turn removes it. reused: another process continues in it.
    digests: algorithm -> hex digest of the whole file, as its process computed them.
    """

    def __init__(self, sock: socket.socket | None, now: float) -> None:
        self.sock = sock
        self.shared: ServedFile | None = None
        self.used = now
        self.leaving = self.reused = False
        self.digests: dict[str, str] = {}

    @property
    def file(self) -> PieceFile | None:
        return self.shared.file if self.shared is not None else None


def copy_for(
    streams: Iterable[Stream], task: str, generation: bytes, piece_size: int, busy: Collection[tuple[int, int]] | None
) -> Stream | None:
    """The most complete ended copy for another download of the same version of the task; None: there is none.

    busy: for a download that continues in that memory as the only writer: memory where another process may still write, by device and
    inode; a stream's memory is never returned then. None: for a download that only reads there.
    """
    running = {inode for stream in streams if stream.sock is not None and stream.file is not None for inode in _inodes(stream.file)}
    best: tuple[int, float] | None = None
    found = None
    for stream in streams:
        if stream.sock is not None or stream.shared is None or (file := stream.file) is None or stream.shared.entry.task != task:
            continue
        if not generation or file.record.generation != generation or file.geometry.piece_size != piece_size:
            continue
        if busy is not None and (stream.reused or file.evicts or not {*_inodes(file)}.isdisjoint(running.union(busy))):
            continue
        rank = file.available.count(), stream.used
        if best is None or rank > best:
            best, found = rank, stream
    return found


def ended_in(streams: Iterable[Stream], file: PieceFile) -> list[Stream]:
    """The ended streams whose pieces are in the memory of `file`."""
    inodes, ended = {*_inodes(file)}, [stream for stream in streams if stream.sock is None]
    return [stream for stream in ended if stream.file is not None and not inodes.isdisjoint(_inodes(stream.file))]


def second_copies(streams: Iterable[Stream]) -> list[Stream]:
    """The ended streams whose pieces another one has as well; that one's last use becomes the later of both."""
    versions: dict[tuple[str, bytes, int], list[tuple[Stream, PieceFile]]] = defaultdict(list)
    for stream in streams:
        if stream.shared is not None and (file := stream.file) is not None and not stream.leaving:
            with contextlib.suppress(StorageError):  # an invalid length
                versions[stream.shared.entry.task, file.record.generation, file.geometry.piece_size].append((stream, file))
    gone = []
    for copies in versions.values():
        # A stream evicts pieces while it runs.
        lasting = [copy for copy in copies if copy[0].sock is None or not copy[1].evicts]
        if len(copies) < 2 or not lasting:
            continue
        # An open file may continue in the memory of another, but not in a stream's.
        best, whole = max(lasting, key=lambda copy: (copy[1].available.count(), not copy[1].evicts, copy[0].sock is not None, copy[0].used))
        for stream, file in copies:
            if stream is not best and stream.sock is None and _has(whole, file):
                best.used = max(best.used, stream.used)
                gone.append(stream)
    return gone


def _has(whole: PieceFile, part: PieceFile) -> bool:
    """Whether every piece of `part` is in `whole`, with the same digest."""
    here, ours, theirs = whole.available, whole.record.digests, part.record.digests
    for first, past in part.available.runs():
        if past > len(here) or not here.all_in_range(first, past):
            return False
        digests = bytes(theirs[16 * first : 16 * past])
        if _UNRECORDED in digests or digests != ours[16 * first : 16 * past]:
            return False
    return True


def over_share(streams: Iterable[Stream], available: int) -> list[Stream]:
    """The ended streams to remove so that the others do not exceed their share of the memory: the least recently used.

    available: bytes of memory that the host has left now. Memory that a running file uses, too, is not counted.
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
