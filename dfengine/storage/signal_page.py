"""Signals between the leader of a host's downloads of one task and those that joined it: 64 KiB of shared memory.

The leader makes the page and the others map it, too. It is a memfd sealed against truncation, so no access to it raises SIGBUS. All values
are hints except `digests`: the record states the pieces on disk, and its head what is verified. Little-endian words of 32 bits:

    0  magic
    1  changes: +1 after each bit that was set (a futex)
    2  beats: +1 each BEAT seconds while the leader runs and a download has joined
    3  1 = a download has joined
    4  1 = the stored pieces may be of two versions of the file
    5  pieces below it may be evicted     8  end of a stream's window
    6  bytes of the digests' text, 0 before
    7  calls: +1 whenever a download joins or wants other pieces (a futex)
    9  progress: changes while bytes arrive, or are hashed, that no bit shows yet
    64..  that text: `ALGORITHM:HEX`, blanks between
    1024..  SLOTS slots of 64 words, one for each joined download: [number of pieces, piece, piece, ...], the most urgent first

Each word has one writer, the leader or the download to which the server gave the slot, except word 7: a change of it that is lost among
others delays the leader by at most a beat.
"""

from __future__ import annotations

import fcntl
import os

from dfengine.errors import StorageError
from dfengine.storage._mapping import Mapping
from dfengine.storage.record import SEALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

BYTES = 64 << 10

MAGIC = 0x31706664
"""`dfp1`."""

BEAT = 0.5
"""Seconds between two beats of a running leader."""

SLOT = 64
"""Words of a slot."""

FIRST_SLOT = 1024
"""Word of the first slot."""

SLOTS = BYTES // 4 // SLOT - FIRST_SLOT // SLOT
"""Number of joined downloads that can name the pieces they want first. Further ones receive pieces in the leader's order, or none where a
leader fetches only wanted pieces."""

WANTED = SLOT - 1
"""Limit of pieces that a download can name at once."""

_CHANGES, _BEATS, _JOINED, _UNPROVED, _UNA, _DIGESTS, _CALLS, _END, _PROGRESS = range(1, 10)
_TEXT = 256
_LONGEST = 2048


class SignalPage:
    """Use `create` or `adopt`. `fd` can be passed to another process, and is owned by this object."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = Mapping(fd, BYTES, writable=True).memory()
        self._words = self._map.cast("I")

    @property
    def descriptors(self) -> list[int]:
        """The page's descriptor."""
        return [self.fd] if self.fd >= 0 else []

    @classmethod
    def create(cls) -> SignalPage:
        """A new page of a leader. Raises StorageError."""
        fd = -1
        try:
            fd = os.memfd_create("dfengine-signals", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(fd, BYTES)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
            page = cls(fd)
        except BaseException as error:
            if fd >= 0:
                os.close(fd)
            if not isinstance(error, OSError):
                raise
            raise StorageError(f"no memory for signals: {error.strerror}") from error
        page._words[0] = MAGIC
        return page

    @classmethod
    def adopt(cls, fd: int) -> SignalPage:
        """Map the page of another process; the result owns `fd`, unless this raises. Raises StorageError for anything else, and for a page
        that could be truncated.
        """
        try:
            if fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK == 0 or os.fstat(fd).st_size != BYTES:
                raise StorageError("the descriptor is no page of signals")
            page = cls(fd)
        except (OSError, ValueError) as error:
            raise StorageError(f"cannot read a page of signals: {error}") from error
        if page._words[0] != MAGIC:
            page.fd = -1
            page._let_go()
            raise StorageError("the descriptor is no page of signals")
        return page

    # Methods of the leader.

    def changed(self) -> None:
        """Report that a bit was set, or the record's head was written, and wake waiting threads. By one thread at a time."""
        self._words[_CHANGES] = self._words[_CHANGES] + 1 & 0xFFFFFFFF
        if self._words[_JOINED]:
            from dfengine.storage import _futex

            _futex.wake(self._words, _CHANGES)

    def beat(self, progress: int = 0) -> None:
        """Report that the leader runs. progress: see `progress`."""
        self._words[_PROGRESS] = progress & 0xFFFFFFFF
        self._words[_BEATS] = self._words[_BEATS] + 1 & 0xFFFFFFFF

    def mark_unproved(self) -> None:
        """Report that the leader's pieces may be of two versions, until a digest of the whole file has been compared."""
        self._words[_UNPROVED] = 1
        self.changed()

    def set_window(self, una: int, end: int) -> None:
        """Set a stream's window: pieces below `una` may be evicted at any time, and those from `end` on are not fetched yet."""
        self._words[_END] = end
        self._words[_UNA] = una

    def publish_digests(self, digests: dict[str, str]) -> None:
        """Publish the digests of the whole file, algorithm -> hex, as computed by the leader."""
        text = " ".join(f"{algorithm}:{hexadecimal}" for algorithm, hexadecimal in digests.items()).encode()[:_LONGEST]
        self._map[_TEXT : _TEXT + len(text)] = text
        self._words[_DIGESTS] = len(text)

    @property
    def joined(self) -> bool:
        """Whether a download has joined."""
        return bool(self._words[_JOINED])

    @property
    def calls(self) -> int:
        """Read it before `wanted`, and pass it to `await_call` afterwards."""
        return self._words[_CALLS]

    def await_call(self, calls: int, seconds: float) -> bool:
        """Wait until a download joins or wants other pieces, or `call`; False after `seconds`."""
        from dfengine.storage import _futex

        return _futex.wait(self._words, _CALLS, calls, seconds)

    def wanted(self) -> list[int]:
        """Pieces that other downloads want first, the most urgent one of each first. The numbers are not validated."""
        if not self._words[_JOINED]:
            return []
        slots = []
        for at in range(FIRST_SLOT, FIRST_SLOT + SLOTS * SLOT, SLOT):
            count = min(self._words[at], WANTED)
            if count:
                slots.append(self._words[at + 1 : at + 1 + count].tolist())
        longest = max(map(len, slots), default=0)
        return list(dict.fromkeys(slot[i] for i in range(longest) for slot in slots if i < len(slot)))

    # Methods of joined downloads.

    def join(self) -> None:
        """Make the leader beat and wake waiting threads from now on."""
        self._words[_JOINED] = 1
        self.call()

    def call(self) -> None:
        """Wake the leader's thread."""
        from dfengine.storage import _futex

        self._words[_CALLS] = self._words[_CALLS] + 1 & 0xFFFFFFFF
        _futex.wake(self._words, _CALLS)

    @property
    def changes(self) -> int:
        """Read it before the pieces on disk, and pass it to `wait` afterwards."""
        return self._words[_CHANGES]

    def wait(self, changes: int, seconds: float) -> None:
        """Wait until a change after `changes` was read, for at most `seconds`."""
        from dfengine.storage import _futex

        _futex.wait(self._words, _CHANGES, changes, seconds)

    def wake(self) -> None:
        """Wake waiting threads, in this process and in others."""
        from dfengine.storage import _futex

        _futex.wake(self._words, _CHANGES)

    @property
    def beats(self) -> int:
        """A number that changes while the leader runs."""
        return self._words[_BEATS]

    @property
    def progress(self) -> tuple[int, int]:
        """A value that changes after each bit that was set, and while bytes arrive or are hashed."""
        return self._words[_CHANGES], self._words[_PROGRESS]

    @property
    def unproved(self) -> bool:
        """See `mark_unproved`."""
        return bool(self._words[_UNPROVED])

    @property
    def una(self) -> int:
        """See `set_window`."""
        return self._words[_UNA]

    @property
    def end(self) -> int:
        """See `set_window`."""
        return self._words[_END]

    @property
    def digests(self) -> dict[str, str]:
        """See `publish_digests`; empty before."""
        size = min(self._words[_DIGESTS], _LONGEST)
        text = bytes(self._map[_TEXT : _TEXT + size]).decode("ascii", "replace")
        return dict(pair for word in text.split() if len(pair := word.split(":")) == 2)

    def want(self, slot: int, pieces: Iterable[int]) -> None:
        """Set the pieces that the download with `slot` wants first; of more than WANTED the first ones. Without a slot this does nothing.
        """
        if not 0 <= slot < SLOTS:
            return
        at = FIRST_SLOT + slot * SLOT
        count = 0
        for n in pieces:
            if count == WANTED:
                break
            count += 1
            self._words[at + count] = n
        self._words[at] = count
        self.call()

    def close(self) -> None:
        """Release the memory. Idempotent. Other processes keep their mappings."""
        if self.fd >= 0:
            self._let_go()

    def _let_go(self) -> None:
        self._words.release()
        self._map.release()
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
