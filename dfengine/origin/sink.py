"""Where the bytes of an origin go: what a `reader.Reader` wants of a download, or of a supernode's copy."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    from dfengine._piece import Geometry

    class Piece(Protocol):
        """A piece on its way. got: bytes of its content that came."""

        got: int

        def room(self, want: int) -> memoryview:
            """Where the next bytes go, `want` at most."""

        def took(self, count: int) -> None:
            """`count` bytes came there."""

        def whole(self) -> bool:
            """All came: put it in its place and show it to nobody; or compare it with the one that is here: True.

            Raises OriginDiffers, StorageError.
            """

        def show(self) -> None:
            """It may be used from now on. Raises StorageError."""

    class Sink(Protocol):
        """Where pieces go. Any of the reader's threads may call."""

        @property
        def geometry(self) -> Geometry: ...
        @property
        def stopping(self) -> bool: ...
        @property
        def ordered(self) -> bool:
            """Somebody takes the pieces from the first to the last: those that come early help nobody."""

        def unbind(self) -> None:
            """Pieces of another answer are about to come: what is here, if all ends now, is of no version that has a name."""

        def begin(self, n: int) -> Piece: ...
        def held(self) -> Iterable[int]:
            """Pieces that are here, or were delivered."""

        def end(self) -> int:
            """One past the last piece that may come now."""

        def room_for(self, n: int) -> None:
            """Wait until piece n may come. Raises SourceGone when the download is stopped."""

        def wanted(self) -> int:
            """The piece that somebody waits for, -1: any."""

        def learn_length(self, length: int) -> None: ...
        def say(self, text: str) -> None:
            """What a user may want to know."""
