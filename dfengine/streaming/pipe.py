"""Writes a stream to a descriptor: splice into a pipe without a copy, sendfile into a file, plain writes elsewhere.

Waits are polls, so that a consumer that pauses costs no CPU time and one that exits is noticed. O_NONBLOCK is not set, since other
processes may share the descriptor.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import stat
import threading

from dfengine.client import thread_start
from dfengine.client.transfer import join
from dfengine.errors import StorageError
from dfengine.streaming.stream_download import StreamDownload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.client.monitor import Observer
    from dfengine.client.result import Result
    from dfengine.settings import GetSettings

    Move = Callable[[int, int, int], int]
    """(descriptor, offset, bytes) -> bytes that were moved; 0: full, poll."""

PIPE = 1 << 20
"""Bytes to which a pipe is enlarged, if the system allows: fewer and larger moves."""

STEP = 256 << 10
"""Bytes of a plain write."""

POLL = 0.25
"""Seconds after which a thread that waits for its reader checks whether the stream has ended."""


def to_descriptor(request: GetSettings, out: int, observer: Observer | None = None, waited: float = 0.0) -> Result:
    """Stream `request.url` into the descriptor `out`, in order. waited: seconds of its time-out that have passed already.

    Raises BrokenPipeError when the reader is gone, else subclasses of DfengineError; no byte is repeated or left out before that.
    """
    streaming = StreamDownload(request, observer)
    streaming.monitor.started -= waited
    feeder = threading.Thread(target=_feed, args=(streaming, out), name="deliver", daemon=True)
    try:
        thread_start.start(feeder)
        return streaming.run()
    except BaseException as error:
        streaming.abandon(error)
        raise
    finally:
        streaming.ended = True
        join((feeder,), 2 * POLL)
        # A plain write may block as long as its reader does not read; then its memory must stay until the process ends.
        if not feeder.is_alive():
            streaming.close()


def _feed(streaming: StreamDownload, out: int) -> None:
    """Move pieces to `out`, as the consumer. An error of `out` ends the stream."""
    try:
        move = mover(out)
        while (piece := streaming.next()) is not None:
            n, fd, offset, left = piece
            while left and not streaming.ended:
                moved = move(fd, offset, left)
                offset, left = offset + moved, left - moved
            if streaming.ended:
                return
            streaming.consumed(n)
    except BrokenPipeError as error:
        streaming.stop(error)
    except OSError as error:
        streaming.stop(StorageError(f"cannot write the stream: {error.strerror}"))
    except BaseException as error:
        streaming.stop(error)


def mover(out: int) -> Move:
    """Return the fastest way to move bytes to `out`. Raises OSError if it is not an open descriptor."""
    mode = os.fstat(out).st_mode
    if stat.S_ISFIFO(mode):
        with contextlib.suppress(OSError):
            if fcntl.fcntl(out, fcntl.F_GETPIPE_SZ) < PIPE:
                fcntl.fcntl(out, fcntl.F_SETPIPE_SZ, PIPE)
        poll = select.poll()
        poll.register(out, select.POLLOUT)

        def spliced(fd: int, offset: int, count: int) -> int:
            try:
                moved = os.splice(fd, out, count, offset_src=offset, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MORE)
                if not moved:
                    raise OSError(errno.EIO, "a piece is shorter than it should be")
                return moved
            except BlockingIOError:
                if any(events & select.POLLERR for _, events in poll.poll(POLL * 1000)):
                    raise BrokenPipeError(errno.EPIPE, "the reader is gone") from None
                return 0

        return spliced
    plain = _written(out)
    if not stat.S_ISREG(mode) or fcntl.fcntl(out, fcntl.F_GETFL) & os.O_APPEND:
        return plain

    def sent(fd: int, offset: int, count: int) -> int:
        try:
            return os.sendfile(out, fd, offset, count)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
            return plain(fd, offset, count)

    return sent


def _written(out: int) -> Move:
    buffer = memoryview(bytearray(STEP))

    def written(fd: int, offset: int, count: int) -> int:
        got = os.preadv(fd, [buffer[: min(count, STEP)]], offset)
        at = 0
        while at < got:
            try:
                at += os.write(out, buffer[at:got])
            except BlockingIOError:
                select.select([], [out], [])
        return got

    return written
