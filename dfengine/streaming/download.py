"""One stream, from the first question to the last byte.

    the engine's thread   finds a supernode, pulls, changes supernodes, goes to the origin; then waits for the consumer
    fetch threads         fill the window with verified pieces
    the consumer          takes one piece after the other: `next`, use it, `taken`

The engine never waits for the consumer while pieces can be fetched, the consumer never for anything but its next piece.
"""

from __future__ import annotations

import os
import time

from dfengine.client.download import Downloading
from dfengine.client.watch import TICK, Watch
from dfengine.errors import DfengineError, LocalError
from dfengine.location import is_content
from dfengine.streaming.memory import Memory, cache_pieces, window_pieces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.client.joining import Joining
    from dfengine.client.result import Result
    from dfengine.client.supernode_session import Membership
    from dfengine.client.transfer import Transfer
    from dfengine.client.watch import Observer
    from dfengine.settings import GetSettings


RECHECK = 0.3
"""Seconds between two checks whether the stream has ended, when nothing else wakes the consumer."""

LATE = 0.5
"""Seconds after the deadline at which the consumer checks itself."""


class Streaming(Downloading):
    """`run` is the engine; `next` and `taken` are the consumer's, from another thread."""

    kind = "stream"

    def __init__(self, settings: GetSettings, observer: Observer | None = None) -> None:
        self.memory = Memory(settings)
        watch = Watch(settings.timeout, observer, "a stream begins anew: give it longer", settings.quiet)
        super().__init__(settings, self.memory, watch)
        self._over: BaseException | None = None
        self.ended = False
        """Nothing more will come."""

    def run(self) -> Result:
        """Until the consumer has taken every piece. Raises subclasses of DfengineError, which say how much was delivered."""
        try:
            self.fill()
            self._empty()
            self.memory.verify()
            result = self.result(self.memory.byte_counts, "-", self.memory.digests)
            self.report(None)
        except BaseException as error:
            if isinstance(error, DfengineError):
                error.args = (f"{error} ({self.memory.delivered} bytes were delivered)", *error.args[1:])
            self._over = error
            raise
        finally:
            self.ended = True
            self._wake()
        return result

    def joined(self, joining: Joining) -> bool:
        """See Downloading."""
        from dfengine.streaming.joined import JoinedStream

        return JoinedStream(joining, self.memory, self.watch).run()

    def prepared(self) -> None:
        """The registration says that this is a stream; the window's pieces are guessed until the piece size is known."""
        settings = self.settings
        self.registration = self.registration.replace(stream_mode=True, window_size=window_pieces(settings))

    def opened(self, member: Membership) -> None:
        """A supernode has sent the file's geometry."""
        size = member.geometry.piece_size
        self.say(
            f"window {window_pieces(self.settings, size)} pieces of {size} bytes, cache {cache_pieces(self.settings, size)}; "
            f"task {member.task} at {member.node}"
        )
        if self.home is not None and self.peer.port:
            try:
                self.memory.share(self.home.sockets, self.who.name, member.cid, str(member.node), member.task)
                self.shared()
            except LocalError as error:
                self.unshared(error)

    def _empty(self) -> None:
        """Everything is here; the consumer takes its time, and the digest follows. Streams that joined this one may wait for that alone."""
        memory, transfer = self.memory, self.memory.transfer
        assert transfer is not None
        while memory.pieces < transfer.file.geometry.count:
            self.watch.check(transfer)
            self._hashed(transfer, 0.0)
            transfer.sleep(TICK)
        while transfer.follower is not None and not memory.digests:
            self.watch.check(transfer)
            self._hashed(transfer, TICK)
        if memory.lending and not memory.lent:
            from dfengine.streaming.lent_digest import found, second_pass

            memory.lent = found(memory.leaders, transfer.file.record, memory.lending)
            if not memory.lent:
                self.say("reads the file once more: the downloads of this host that computed its digest have ended")
                again = Streaming(self.settings.replace(no_join=True, timeout=0.0, quiet=True))
                memory.lent = second_pass(again, transfer.file.record, self.watch)
        if memory.lent:
            memory.say_digests(memory.lent)

    def _hashed(self, transfer: Transfer, seconds: float) -> None:
        """Take the digests when they are computed, and tell them to those that joined."""
        if transfer.follower is not None and not self.memory.digests and (found := transfer.follower.result(seconds)) is not None:
            self.memory.say_digests(found)

    # The consumer.

    def next(self, timeout: float | None = None) -> tuple[int, int, int, int] | None:
        """(piece, descriptor, offset, bytes) of the next piece's content when it is here; None at the end of the file.

        What is there stays in its place until `taken`, and its pages beyond that for a pipe or socket that holds them.
        timeout: seconds, None = as long as it takes. Raises what ended the stream, TimeoutError.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            transfer, n = self.memory.transfer, self.memory.pieces
            if transfer is None:
                self._check(None)
                time.sleep(0.002)
            else:
                here = transfer.wait_for(n, 0.0 if self.ended else RECHECK)
                if here is not None and (place := self.memory.give(transfer, n)) is not None:
                    if here and not n and is_content(self.settings.url):
                        _check_head(self.settings.url, *place)
                    return (n, *place) if here else None
                self._check(transfer.error)
            if time.monotonic() > self.watch.deadline + LATE:
                self.watch.check(None)  # raises: the engine, which should say so, is held up
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError("the next piece is not here yet")

    def _check(self, error: BaseException | None) -> None:
        if self.ended:
            raise self._over or error or LocalError("the stream was closed")

    def taken(self, n: int) -> None:
        """The consumer has all of piece n."""
        self.memory.taken(n)

    @property
    def ahead(self) -> tuple[int, int]:
        """(pieces from the consumer's place to the end of the file, -1 unknown; pieces of the window). After the first piece was `next`."""
        assert self.memory.transfer is not None
        window = self.memory.transfer.plan.window
        return window.count - self.memory.pieces if window.count >= 0 else -1, window.wnd

    def _wake(self) -> None:
        transfer = self.memory.transfer
        if transfer is not None:
            transfer.offer(())

    def close(self) -> None:
        """Let go of everything, once the engine's `run` has ended."""
        self.ended = True
        super().close()


def _check_head(url: str, fd: int, offset: int, length: int) -> None:
    """The first piece. Raises BadValue for a shared directory, which is no file."""
    from dfengine.manifest import HEAD, check_no_directory

    check_no_directory(url, os.pread(fd, min(HEAD, length), offset))
