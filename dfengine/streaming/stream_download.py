"""One stream, from the first request to the last byte.

    the download thread   finds a supernode, pulls, changes supernodes, falls back to the origin; then waits for the consumer
    fetch threads         fill the window with verified pieces
    the consumer          takes one piece after the other: `next`, use it, `consumed`

The download thread never waits for the consumer while pieces can be fetched. The consumer only waits for its next piece.
"""

from __future__ import annotations

import os
import time

from dfengine.client.download import BaseDownload
from dfengine.client.monitor import TICK, Monitor
from dfengine.errors import DfengineError, LocalError
from dfengine.location import is_content
from dfengine.streaming.stream_buffer import StreamBuffer, cache_pieces, window_pieces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.client.host_leader_client import HostLeaderClient
    from dfengine.client.monitor import Observer
    from dfengine.client.result import Result
    from dfengine.client.supernode_session import Membership
    from dfengine.client.transfer import Transfer
    from dfengine.settings import GetSettings


RECHECK = 0.3
"""Seconds between two checks whether the stream has ended, if the consumer is not woken earlier."""

LATE = 0.5
"""Seconds after the deadline until the consumer checks the deadline itself, because the download thread is blocked."""


class StreamDownload(BaseDownload):
    """The download of a stream: the download thread calls `run`; the consumer calls `next` and `consumed`, in another thread."""

    kind = "stream"

    def __init__(self, settings: GetSettings, observer: Observer | None = None) -> None:
        self.memory = StreamBuffer(settings)
        monitor = Monitor(settings.timeout, observer, "a stream cannot be resumed: give it longer", settings.quiet)
        super().__init__(settings, self.memory, monitor)
        self._error: BaseException | None = None
        self.ended = False
        """Whether no further piece will arrive."""

    def run(self) -> Result:
        """Run until the consumer has taken every piece. Raises subclasses of DfengineError, which state the delivered bytes."""
        try:
            self.fill()
            self._await_consumer()
            self.memory.verify()
            result = self.result(self.memory.byte_counts, "-", self.memory.digests)
            self.report(None)
        except BaseException as error:
            if isinstance(error, DfengineError):
                error.args = (f"{error} ({self.memory.delivered} bytes were delivered)", *error.args[1:])
            self._error = error
            raise
        finally:
            self.ended = True
            self._wake()
        return result

    def copy_from_host(self, joining: HostLeaderClient) -> bool:
        """See BaseDownload."""
        from dfengine.streaming.stream_from_leader import StreamFromLeader

        return StreamFromLeader(joining, self.memory, self.monitor).run()

    def on_registration(self) -> None:
        """See BaseDownload. Registers as a stream; the window's pieces are an estimate until the piece size is known."""
        settings = self.settings
        self.registration = self.registration.replace(stream_mode=True, window_size=window_pieces(settings))

    def on_opened(self, member: Membership) -> None:
        """See BaseDownload. From now on, this host serves the stream's pieces."""
        size = member.geometry.piece_size
        self.log_verbose(
            f"window {window_pieces(self.settings, size)} pieces of {size} bytes, cache {cache_pieces(self.settings, size)}; "
            f"task {member.task} at {member.node}"
        )
        if self.home is not None and self.peer.port:
            try:
                self.memory.share(self.home.sockets, self.identity.name, member.cid, str(member.node), member.task)
                self.mark_serving()
            except LocalError as error:
                self.note_not_serving(error)

    def _await_consumer(self) -> None:
        """Wait for the consumer and the digest, after every piece was fetched. Joined streams may wait for the digest alone."""
        memory, transfer = self.memory, self.memory.transfer
        assert transfer is not None
        while memory.pieces < transfer.file.geometry.count:
            self.monitor.check(transfer)
            self._publish_computed_digests(transfer, 0.0)
            transfer.sleep(TICK)
        while transfer.digester is not None and not memory.digests:
            self.monitor.check(transfer)
            self._publish_computed_digests(transfer, TICK)
        if memory.delegated and not memory.delegated_digests:
            from dfengine.streaming.leader_digest import published_digests, second_pass

            memory.delegated_digests = published_digests(memory.leaders, transfer.file.record, memory.delegated)
            if not memory.delegated_digests:
                self.log_verbose("reads the file once more: the downloads of this host that computed its digest have ended")
                again = StreamDownload(self.settings.replace(no_join=True, timeout=0.0, quiet=True))
                memory.delegated_digests = second_pass(again, transfer.file.record, self.monitor)
        if memory.delegated_digests:
            memory.publish_digests(memory.delegated_digests)

    def _publish_computed_digests(self, transfer: Transfer, seconds: float) -> None:
        """Publish the digests to joined downloads when they are computed. seconds: to wait for them."""
        if transfer.digester is not None and not self.memory.digests and (found := transfer.digester.result(seconds)) is not None:
            self.memory.publish_digests(found)

    # The consumer.

    def next(self, timeout: float | None = None) -> tuple[int, int, int, int] | None:
        """Wait for the next piece. Return (piece, descriptor, offset, bytes) of its content; None at the end of the file.

        The content stays in its place until `consumed`; a pipe or socket that holds its pages keeps them longer.
        timeout: seconds, None = no limit. Raises the error that ended the stream, TimeoutError.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            transfer, n = self.memory.transfer, self.memory.pieces
            if transfer is None:
                self._check(None)
                time.sleep(0.002)
            else:
                here = transfer.wait_for(n, 0.0 if self.ended else RECHECK)
                if here is not None and (place := self.memory.piece_location(transfer, n)) is not None:
                    if here and not n and is_content(self.settings.url):
                        _check_head(self.settings.url, *place)
                    return (n, *place) if here else None
                self._check(transfer.error)
            if time.monotonic() > self.monitor.deadline + LATE:
                self.monitor.check(None)  # raises; the download thread, which should do so, is blocked
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError("the next piece was not received yet")

    def _check(self, error: BaseException | None) -> None:
        if self.ended:
            raise self._error or error or LocalError("the stream was closed")

    def consumed(self, n: int) -> None:
        """Note that the consumer has taken all of piece n."""
        self.memory.consumed(n)

    @property
    def ahead(self) -> tuple[int, int]:
        """(Pieces from the consumer's position to the file's end, -1 unknown; pieces of the window). Valid after the first `next`."""
        assert self.memory.transfer is not None
        window = self.memory.transfer.plan.window
        return window.count - self.memory.pieces if window.count >= 0 else -1, window.wnd

    def _wake(self) -> None:
        transfer = self.memory.transfer
        if transfer is not None:
            transfer.offer(())

    def close(self) -> None:
        """Release all resources, after the download thread's `run` has ended."""
        self.ended = True
        super().close()


def _check_head(url: str, fd: int, offset: int, length: int) -> None:
    """Check the first piece. Raises BadValue for a shared directory, which is not a file."""
    from dfengine.manifest import HEAD_BYTES, check_no_directory

    check_no_directory(url, os.pread(fd, min(HEAD_BYTES, length), offset))
