"""What the leader of a host's downloads of one task tells those that joined it, and they the leader: 64 KiB of shared memory.

The leader makes the page and others map it, too. It is a memfd sealed against truncation, so no access to it raises SIGBUS. All of it is
hints, but for `digests`: what is here says the record, and what was verified the record's head. Little-endian words of 32 bits:

    0  magic
    1  changes: +1 after each bit that was set (a futex)
    2  beats: +1 each BEAT seconds while the leader runs and somebody has joined
    3  1 = somebody has joined
    4  1 = what lies here may be of two versions of the file
    5  pieces below it may be evicted     8  where a stream's window ends
    6  bytes of the digests' text, 0 before
    7  calls: +1 whenever a download joins or wants other pieces (a futex)
    9  progress: differs when bytes came, or were hashed, of which no bit tells yet
    64..  that text: `ALGORITHM:HEX`, blanks between
    1024..  SLOTS slots of 64 words, one for each that joined: [number of pieces, piece, piece, ...], the most urgent first

Each word has one writer, the leader or the one to whom the server gave the slot, but for word 7: a change of it that is lost among others
costs the leader the time of a beat.
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
"""Seconds between two beats of a leader that runs."""

SLOT = 64
"""Words of a slot."""

FIRST = 1024
"""Word of the first slot."""

SLOTS = BYTES // 4 // SLOT - FIRST // SLOT
"""So many that joined can say what they want first; those beyond take what comes, or nothing where a leader fetches only what is wanted."""

WANTED = SLOT - 1
"""Pieces that one can name at once."""

_CHANGES, _BEATS, _JOINED, _UNPROVED, _UNA, _DIGESTS, _CALLS, _END, _PROGRESS = range(1, 10)
_TEXT = 256
_LONGEST = 2048


class SignalPage:
    """Use `create` or `adopt`. `fd` can be handed to another process, and is this value's."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = Mapping(fd, BYTES, writable=True).memory()
        self._words = self._map.cast("I")

    @property
    def descriptors(self) -> list[int]:
        """Of the page."""
        return [self.fd] if self.fd >= 0 else []

    @classmethod
    def create(cls) -> SignalPage:
        """The leader's, of whom nothing is known yet. Raises StorageError."""
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
        """Of another process; `fd` is the result's then, and the caller's where this raises. Raises
        StorageError where it is none, or its memory could be taken away.
        """
        try:
            if fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK == 0 or os.fstat(fd).st_size != BYTES:
                raise StorageError("what was handed over is no page of signals")
            page = cls(fd)
        except (OSError, ValueError) as error:
            raise StorageError(f"cannot read a page of signals: {error}") from error
        if page._words[0] != MAGIC:
            page.fd = -1
            page._let_go()
            raise StorageError("what was handed over is no page of signals")
        return page

    # The leader's side.

    def changed(self) -> None:
        """A bit was set, or the record's head was written. Who waits is woken. By one thread at a time."""
        self._words[_CHANGES] = self._words[_CHANGES] + 1 & 0xFFFFFFFF
        if self._words[_JOINED]:
            from dfengine.storage import _futex

            _futex.wake(self._words, _CHANGES)

    def beat(self, progress: int = 0) -> None:
        """The leader runs. progress: see `progress`."""
        self._words[_PROGRESS] = progress & 0xFFFFFFFF
        self._words[_BEATS] = self._words[_BEATS] + 1 & 0xFFFFFFFF

    def doubt(self) -> None:
        """From now on what lies in the leader's place may be of two versions, until a digest of the whole file has been compared."""
        self._words[_UNPROVED] = 1
        self.changed()

    def moved(self, una: int, end: int) -> None:
        """A stream's window: pieces below `una` may be evicted at any time, and those from `end` on are not fetched yet."""
        self._words[_END] = end
        self._words[_UNA] = una

    def say_digests(self, digests: dict[str, str]) -> None:
        """Algorithm -> hex of the whole file, as computed by the leader."""
        text = " ".join(f"{algorithm}:{hexadecimal}" for algorithm, hexadecimal in digests.items()).encode()[:_LONGEST]
        self._map[_TEXT : _TEXT + len(text)] = text
        self._words[_DIGESTS] = len(text)

    @property
    def joined(self) -> bool:
        """Somebody has joined."""
        return bool(self._words[_JOINED])

    @property
    def calls(self) -> int:
        """To be read before `wanted`, and given to `await_call` after it."""
        return self._words[_CALLS]

    def await_call(self, calls: int, seconds: float) -> bool:
        """Until a download joins or wants other pieces, or `call`; False after `seconds`."""
        from dfengine.storage import _futex

        return _futex.wait(self._words, _CALLS, calls, seconds)

    def wanted(self) -> list[int]:
        """Pieces that others want first, the most urgent one of each first; some may be nonsense."""
        if not self._words[_JOINED]:
            return []
        slots = []
        for at in range(FIRST, FIRST + SLOTS * SLOT, SLOT):
            count = min(self._words[at], WANTED)
            if count:
                slots.append(self._words[at + 1 : at + 1 + count].tolist())
        longest = max(map(len, slots), default=0)
        return list(dict.fromkeys(slot[i] for i in range(longest) for slot in slots if i < len(slot)))

    # Of those that joined.

    def join(self) -> None:
        """From now on the leader beats, and wakes the threads that wait."""
        self._words[_JOINED] = 1
        self.call()

    def call(self) -> None:
        """Wake the leader's thread."""
        from dfengine.storage import _futex

        self._words[_CALLS] = self._words[_CALLS] + 1 & 0xFFFFFFFF
        _futex.wake(self._words, _CALLS)

    @property
    def changes(self) -> int:
        """To be read before the pieces that are here, and given to `wait` after it."""
        return self._words[_CHANGES]

    def wait(self, changes: int, seconds: float) -> None:
        """Until something has changed since `changes` was read, at most `seconds`."""
        from dfengine.storage import _futex

        _futex.wait(self._words, _CHANGES, changes, seconds)

    def wake(self) -> None:
        """Wake the threads that wait, in this process and in others."""
        from dfengine.storage import _futex

        _futex.wake(self._words, _CHANGES)

    @property
    def beats(self) -> int:
        """A number that changes while the leader runs."""
        return self._words[_BEATS]

    @property
    def progress(self) -> tuple[int, int]:
        """It differs after each bit that was set, and while bytes come or are hashed."""
        return self._words[_CHANGES], self._words[_PROGRESS]

    @property
    def unproved(self) -> bool:
        """See `doubt`."""
        return bool(self._words[_UNPROVED])

    @property
    def una(self) -> int:
        """See `moved`."""
        return self._words[_UNA]

    @property
    def end(self) -> int:
        """See `moved`."""
        return self._words[_END]

    @property
    def digests(self) -> dict[str, str]:
        """See `say_digests`; empty before."""
        size = min(self._words[_DIGESTS], _LONGEST)
        text = bytes(self._map[_TEXT : _TEXT + size]).decode("ascii", "replace")
        return dict(pair for word in text.split() if len(pair := word.split(":")) == 2)

    def want(self, slot: int, pieces: Iterable[int]) -> None:
        """What is wanted first by the one who was given `slot`; of more than WANTED pieces the first ones. No slot: it says nothing."""
        if not 0 <= slot < SLOTS:
            return
        at = FIRST + slot * SLOT
        count = 0
        for n in pieces:
            if count == WANTED:
                break
            count += 1
            self._words[at + count] = n
        self._words[at] = count
        self.call()

    def close(self) -> None:
        """Let go of the memory; again: nothing. Others keep theirs."""
        if self.fd >= 0:
            self._let_go()

    def _let_go(self) -> None:
        self._words.release()
        self._map.release()
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
