"""The whole-file digest that a stream's leader computes for its followers, and its replacement when that leader is lost.

A stream that joins does not hash if its leader computes the wanted digests, and these include more than XXH3, which is cheap. Of the
streams that joined another stream, the first one hashes nevertheless: it is the next leader. The hash state ends with its process, and
delivered pieces are gone. So if no stream that hashes is left, the pieces that a download into a file has left on disk are hashed from
there (`hash_from_places`). If that is impossible, the leader reads the whole file once more (`second_pass`), also for its followers.
"""

from __future__ import annotations

import os

from dfengine.client.copying import STEP
from dfengine.client.download_thread import DownloadThread
from dfengine.client.leader_place import LeaderPlace, Unusable
from dfengine.client.monitor import TICK
from dfengine.errors import LocalError, OriginChanged
from dfengine.storage.hashing import content_digest, hasher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dfengine.client.monitor import Monitor
    from dfengine.storage.hashing import Hasher
    from dfengine.storage.record import Record
    from dfengine.streaming.stream_download import StreamDownload

CHEAP = "xxh3"
"""Each stream computes this digest itself: it takes 0.05 CPU seconds per GB, a copy 0.6."""


def can_delegate(leader: LeaderPlace, slot: int, algorithms: Sequence[str]) -> bool:
    """Whether a stream with `slot` among the leader's followers need not compute `algorithms`."""
    return bool({*algorithms} - {CHEAP}) and {*algorithms} <= {*leader.algorithms} and (slot > 0 or not leader.file.evicts)


def published_digests(places: Sequence[LeaderPlace], record: Record, algorithms: Sequence[str]) -> dict[str, str]:
    """Return whole-file digests that one of these leaders has published, for the pieces of `record`; empty: none yet."""
    return next(filter(None, (place.published_digests(record, algorithms) for place in places)), {})


def hash_from_places(
    places: Sequence[LeaderPlace], record: Record, past: int, algorithms: Sequence[str], check: Callable[[], None]
) -> dict[str, Hasher] | None:
    """Hash the first `past` pieces, whose digests `record` has, from leaders' places. None: a piece is no longer available.

    check: called before each piece, and may raise.
    """
    hashes = {name: hasher(name) for name in algorithms}
    files = [place for place in places if not place.file.evicts]
    buffer = memoryview(bytearray(places[0].file.geometry.content_size)) if files else memoryview(b"")
    for n in range(past):
        check()
        for place in files:
            content = _content(place, n, buffer)
            if content is not None and content_digest(content) == record.digest(n):
                break
        else:
            return None
        for each in hashes.values():
            for at in range(0, len(content), STEP):
                each.update(content[at : at + STEP])
    return hashes


def _content(place: LeaderPlace, n: int, buffer: memoryview) -> memoryview | None:
    try:
        if not place.holds(n):
            return None
        fd, offset, length = place.file.locate(n)
        got = 0
        while got < length and (count := os.preadv(fd, [buffer[got:length]], offset + got)):
            got += count
        return buffer[:got]
    except (Unusable, OSError):
        return None


def second_pass(again: StreamDownload, record: Record, monitor: Monitor) -> dict[str, str]:
    """Return digests of the file, which is streamed once `again`. Each piece must have its digest in `record`.

    Raises OriginChanged if one differs, DigestMismatch, and other errors that end a stream.
    """
    thread = DownloadThread(again, "again")
    try:
        thread.start()
        while True:
            monitor.check(None)
            try:
                piece = again.next(TICK)
            except TimeoutError:
                continue
            if piece is None:
                break
            assert again.memory.transfer is not None
            if again.memory.transfer.file.record.digest(piece[0]) != record.digest(piece[0]):
                raise OriginChanged("the origin's file changed while its digest was computed")
            again.consumed(piece[0])
        while thread.is_alive():
            monitor.check(None)
            thread.join(TICK)
        if thread.failure is not None:
            raise thread.failure
        return again.memory.digests
    finally:
        if not thread.over:  # it may run although a signal interrupted its start
            again.stop(LocalError("the stream was stopped"))
        thread.close()
