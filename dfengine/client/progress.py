"""The progress bar on a terminal's stderr: bytes, rate, time left, and where the bytes came from."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Self

FIRST_SHOWN = 0.3
"""Seconds before the bar appears, so that a small download never pays for it."""

REFRESH = 0.1


class Bar:
    """A context; `show` is called with the download's counters as often as the client likes. Counters are bytes."""

    def __init__(self, output: str) -> None:
        self._name = os.path.basename(output)
        self._started = self._shown = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        return self

    def show(self, length: int, peers: int, supernode: int, origin: int, resumed: int) -> None:
        """length: bytes of the file, -1 unknown; the others: bytes from each kind of source so far."""
        now = time.monotonic()
        if now - self._started < FIRST_SHOWN or now - self._shown < REFRESH:
            return
        self._shown = now
        if self._bar is None:
            self._open()
        done = peers + supernode + origin + resumed
        share = " ".join(
            f"{name} {100 * count // done}%"
            for name, count in (("peers", peers), ("supernode", supernode), ("origin", origin), ("resumed", resumed))
            if count
        )
        self._bar.update(self._task, completed=done, total=length if length >= 0 else None, share=share)

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[share]}"),
            console=Console(stderr=True),
        )
        self._bar.start()
        self._task = self._bar.add_task(self._name, total=None, share="")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
