"""The interface that every kind of origin offers to a reader. `local_file.FileOrigin` is the smallest one."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from dfengine.origin.cancel import Cancel
    from dfengine.origin.head import Head
    from dfengine.origin.version import Version

    class Answer(Protocol):
        """One response with the file, or with a part of it; see `body.Body` for each attribute."""

        place: str
        head: Head
        start: int
        length: int
        remaining: int
        vary: frozenset[str]
        version: Version
        ranged: bool
        not_modified: bool
        bounded: bool
        end_unknown: bool

        def read_into(self, buffer: memoryview, waiting: Callable[[], None] | None = None) -> int:
            """See `body.Body.read_into`."""

        def close(self) -> None: ...

    class Origin(Protocol):
        """One file. key: names the server. connect, first: see `http.HttpOrigin`. floor: minimum bytes per second of one answer."""

        key: str
        connect: float
        first: float
        floor: float
        cancel: Cancel

        def open(
            self, start: int = 0, end: int | None = None, *, version: Version | None = None, unless: Version | None = None,
            waiting: Callable[[], None] | None = None,
        ) -> Answer:
            """See `http.HttpOrigin.open`."""

        def send_ahead(self) -> None:
            """See `http.HttpOrigin.send_ahead`."""

        def cancel_request(self) -> None:
            """See `http.HttpOrigin.cancel_request`."""

        def check_end(self, start: int, version: Version) -> None:
            """See `http.HttpOrigin.check_end`."""
