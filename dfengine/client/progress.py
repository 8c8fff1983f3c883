"""The progress line on stderr, drawn by its own thread because the main thread may be waiting for a supernode.

It is one line and a carriage return, without colours or escape sequences. Other messages are written by `print`, which clears the line,
writes the message, and draws the line again.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading

from dfengine.client import thread_start
from dfengine.client.progress_text import Counters, Gauge, cells, line
from dfengine.client.transfer import join
from dfengine.errors import LocalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Protocol, Self

    class Followed(Protocol):
        """See `monitor.Monitor`. name: shown instead of the file's name, "": the file's name."""

        @property
        def name(self) -> str: ...
        @property
        def seconds(self) -> float: ...
        @property
        def state(self) -> tuple[str, str]: ...
        def counters(self) -> tuple[int, int, int, int, int]: ...

FIRST_SHOWN = 0.3
"""Seconds before the line appears; for a shorter download only its result is shown."""

REFRESH = 0.2
"""Seconds between two updates."""

REFRESH_FILE = 1.0
"""The same if stderr is not a terminal, so that each update is a new line."""

WIDTH = 80
"""Columns of a terminal that does not report its width."""


def encoding() -> str:
    """Return the terminal's encoding, from the locale with which the process was started.

    Python replaces the locale C by UTF-8 in sys.stderr and in os.environ, but the terminal does not.
    """
    stated = getattr(sys.stderr, "encoding", None) or "ascii"
    if stated.lower().replace("-", "") != "utf8":
        return stated
    try:
        with open("/proc/self/environ", "rb") as file:
            started = dict(pair.partition(b"=")[::2] for pair in file.read().split(b"\0"))
    except OSError:
        return "ascii"
    locale = next(filter(None, (started.get(name) for name in (b"LC_ALL", b"LC_CTYPE", b"LANG"))), b"")
    return "utf-8" if b"utf8" in locale.lower().replace(b"-", b"") else "ascii"


class Bar:
    """A context that shows one download, or the progress of several, which calls `follow`. name: the file's name or path."""

    def __init__(self, name: str) -> None:
        self._name = name.rstrip("/").rpartition("/")[2]
        self._out = sys.stderr
        self._tty = self._out is not None and self._out.isatty()
        self._encoding = encoding()
        self._monitor: Followed | None = None
        self._threads: list[threading.Thread] = []
        self._gauge = Gauge()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._drawn = ""

    def __enter__(self) -> Self:
        return self

    def follow(self, monitor: Followed) -> None:
        """Show this download's counters until the context ends."""
        self._monitor = monitor
        with contextlib.suppress(LocalError):  # at the limit of threads, only the end is shown
            thread_start.start(threading.Thread(target=self._run, name="progress", daemon=True), self._threads)

    def print(self, text: str) -> None:
        """Print a line above the progress line. May be called from any thread."""
        with self._lock:
            drawn = self._drawn
            self._drawn = ""
            self._write((self._blank(drawn) if self._tty else "") + text + "\n")
            if drawn and self._tty:
                self._put(drawn)

    def _run(self) -> None:
        pause = FIRST_SHOWN
        while not self._over.wait(pause):
            pause = REFRESH if self._tty else REFRESH_FILE
            with self._lock:
                self._put(self._line(ended=False))

    def _line(self, ended: bool) -> str:
        monitor = self._monitor
        assert monitor is not None
        seconds = monitor.seconds
        length, peers, supernode, origin, resumed = monitor.counters()
        now = Counters(monitor.name or self._name, length, peers, supernode, origin, resumed, seconds, ended=ended)
        if ended:
            now = now.replace(rate=max(0, now.done - resumed) / seconds if seconds > 0 else 0.0)
        else:
            self._gauge.add(seconds, now.done)
            held = max(0, self._gauge.done - now.done)
            state, brief = monitor.state
            # Bytes that are received but not verified yet are attributed to the source of most bytes.
            most = max(("peers", peers), ("supernode", supernode), ("origin", origin), key=lambda part: part[1])
            now = now.replace(rate=self._gauge.rate, state=state, brief=brief, **({most[0]: most[1] + held} if held else {}))
        return line(now, self._width(), self._encoding)

    def _width(self) -> int:
        """Width of a line in cells: one less than the terminal's, since some terminals wrap after the last column."""
        columns = 0
        if self._tty and self._out is not None:
            try:
                columns = os.get_terminal_size(self._out.fileno()).columns
            except (OSError, ValueError):
                columns = 0
        return (columns or WIDTH) - 1

    def _put(self, text: str) -> None:
        """Draw `text` over the line that is shown."""
        if text == self._drawn:
            return
        if self._tty:
            rest = max(0, min(cells(self._drawn), self._width()) - cells(text))
            self._write(f"\r{text}{' ' * rest}")
        else:
            self._write(text + "\n")
        self._drawn = text

    def _blank(self, drawn: str) -> str:
        return f"\r{' ' * min(cells(drawn), self._width())}\r" if drawn else ""

    def _write(self, text: str) -> None:
        """Write to stderr. If the terminal is gone, the progress line ends, and the download continues."""
        if self._out is None:
            return
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):
            self._out = None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        if self._monitor is None:
            return
        join(self._threads, 1.0)
        with self._lock:
            if kind is None:
                self._put(self._line(ended=True))
            if self._drawn and self._tty:
                self._write("\n")
            self._drawn = ""
