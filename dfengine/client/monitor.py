"""Checks of the main thread between two waits: the user's deadline, the threads' errors, the progress. Also prints to stderr."""

from __future__ import annotations

import sys
import threading
import time

from dfengine.client.byte_counts import ByteCounts
from dfengine.errors import TimedOut
from dfengine.net import tracing
from dfengine.task import redacted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from dfengine.client.transfer import Transfer

    Counted = Callable[[int, int, int, int, int], None]

    class Display(Protocol):
        """A display with its own thread: it reads `counters` and `state`, and prints all other messages."""

        def follow(self, monitor: Monitor) -> None: ...
        def print(self, text: str) -> None: ...

    Observer = Counted | Display
    """A display, or a function that is called with bytes: length (-1 unknown), from peers, supernode and origin, resumed.

    Bytes from another download of this host count as resumed.
    """

NOTICES = 1000
"""Most notices that are kept, the latest ones; a file may be open for weeks."""

RECENT = 60.0
"""Seconds for which a failure is reported as the reason of a wait: longer than the pauses between two tries."""

TICK = 0.1
"""Longest time in seconds between two checks."""

PARKED = 30.0
"""Seconds between two checks of a thread that no reader waits for, and that a change wakes."""


class Monitor:
    """timeout: seconds for the whole download, 0 = none. advice: what to do after a time-out. quiet: notices are not printed."""

    name = ""
    """Name for a display; "": the display shows the file's."""
    allowed: float
    """The user's time-out in seconds, for the message; this download's own may be only the remaining part."""

    def __init__(self, timeout: float, observer: Observer | None, advice: str, quiet: bool = False) -> None:
        self._timeout = self.allowed = timeout
        self._advice = advice
        self._quiet = quiet
        self._display: Display | None = None
        self._counted: Counted | None = None
        self._transfer: Transfer | None = None
        self._counters = (-1, 0, 0, 0, 0)
        self.notices: list[str] = []
        """Messages for the user, each text once, printed or not; the latest NOTICES."""
        self._lock = threading.Lock()
        self._last_failure = 0.0, ""
        self.state = "", ""
        """The present wait, for a display; and the same for a narrow one."""
        self.interrupted: BaseException | None = None
        """Raised at the next check."""
        self.started = time.monotonic()
        self.parent, self.span = tracing.inherited(), tracing.NONE
        """The traceparent with which the download was started; its own span, once it runs."""
        if callable(observer):
            self._counted = observer
        elif observer is not None:
            self._display = observer
            observer.follow(self)

    @property
    def deadline(self) -> float:
        """Deadline in monotonic seconds; 10 years after the start if there is no timeout."""
        return self.started + (self._timeout or 10 * 365 * 86400.0)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def check(self, transfer: Transfer | None) -> None:
        """Raise the error that stopped the download or a thread, or TimedOut; also report progress."""
        if self.interrupted is not None:
            raise self.interrupted
        if transfer is not None and transfer.error is not None:
            raise transfer.error
        if self._timeout and time.monotonic() > self.deadline:
            raise TimedOut.after(self.allowed, f"{self.wait_reason(time.monotonic() - RECENT)}; {self._advice}")
        if transfer is not None:
            self._transfer = transfer
            if self._counted is not None:
                self._counted(*self.counters())

    def pause(self, seconds: float) -> None:
        """Sleep, and check meanwhile. Raises as `check`."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.check(None)
            time.sleep(min(left, TICK))

    def set_state(self, state: str = "", brief: str = "") -> None:
        """Set the text of the present wait, "": it only waits for bytes. brief: the same in 30 letters."""
        self.state = state, brief or state

    def note_failure(self, text: str) -> None:
        """Note a failure that is retried."""
        self._last_failure = time.monotonic(), _line(text)

    def wait_reason(self, since: float) -> str:
        """Return the known reasons of a wait, after a colon: the present wait, and the last failure if it is later than `since`."""
        at, trouble = self._last_failure
        reasons = [each for each in (_line(self.state[0]), trouble if at >= since else "") if each]
        return f": {'; '.join(dict.fromkeys(reasons))}" if reasons else ""

    def counters(self) -> tuple[int, int, int, int, int]:
        """Present bytes, including those under way: length (-1 unknown), from peers, supernode and origin, resumed. For any thread."""
        transfer = self._transfer
        if transfer is None:
            return self._counters
        extra, byte_counts = transfer.in_flight(), transfer.byte_counts
        return (
            transfer.file.geometry.length,
            byte_counts.peers + extra.peers,
            byte_counts.supernode + extra.supernode,
            byte_counts.origin + extra.origin,
            byte_counts.resumed + byte_counts.host,
        )

    def set_final_counters(self, length: int, byte_counts: ByteCounts) -> None:
        """Set the final counters: every piece is stored."""
        self._counters = length, byte_counts.peers, byte_counts.supernode, byte_counts.origin, byte_counts.resumed + byte_counts.host
        self._transfer = None
        if self._counted is not None:
            self._counted(*self._counters)

    # Any thread.

    def notice(self, text: str) -> None:
        """Record a message for the user, and print it unless `quiet`; each text once."""
        text = _line(text)
        with self._lock:
            if text in self.notices:
                return
            self.notices.append(text)
            self._last_failure = time.monotonic(), text
            del self.notices[:-NOTICES]
        if not self._quiet:
            self.print(text)

    def print(self, text: str) -> None:
        """Print `dfengine: text` on stderr as a line of its own."""
        line = f"dfengine: {_line(text)}"
        if self._display is not None:
            self._display.print(line)
        elif sys.stderr is not None:
            with self._lock:
                sys.stderr.write(line + "\n")
                sys.stderr.flush()


def _line(text: str) -> str:
    """Return one line without control characters and without credentials in URLs: the text may contain bytes of a remote side."""
    words = redacted(" ".join(text.split()))
    return words if words.isprintable() else "".join(each if each.isprintable() else "?" for each in words)
