"""Destination of an origin's bytes: the interface of a `reader.Reader` to a download, or to a supernode's copy."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    from dfengine._piece import Geometry

    class Piece(Protocol):
        """A piece in transfer. received: bytes of its content that have arrived."""

        received: int

        def buffer(self, want: int) -> memoryview:
            """The memory for the next bytes, at most `want`."""

        def advance(self, count: int) -> None:
            """Report that `count` bytes were written there."""

        def finish(self) -> bool:
            """All bytes arrived: store the piece without showing it, or compare it with the stored one and return True.

            Raises OriginDiffers, StorageError.
            """

        def publish(self) -> None:
            """Make the piece available. Raises StorageError."""

    class Sink(Protocol):
        """Destination of pieces. Any of the reader's threads may call it."""

        @property
        def geometry(self) -> Geometry: ...
        @property
        def stopping(self) -> bool: ...
        @property
        def ordered(self) -> bool:
            """Whether pieces are consumed from the first to the last, so that early ones are of no use."""

        def invalidate_version(self) -> None:
            """Pieces of another response follow: if the transfer ends now, the stored pieces belong to no known version.

            Raises OriginDiffers if they must not follow, StorageError.
            """

        def begin_piece(self, n: int) -> Piece: ...
        def stored(self) -> Iterable[int]:
            """Pieces that are stored, or were delivered."""

        def window_end(self) -> int:
            """One past the last piece that there is room for."""

        def wait_for_room(self, n: int) -> None:
            """Wait until there is room for piece n. Raises SourceGone when the download is stopped."""

        def wanted(self) -> int:
            """The piece that a reader waits for, -1: any."""

        def learn_length(self, length: int) -> None: ...
        def report(self, text: str) -> None:
            """Report a message for the user."""
