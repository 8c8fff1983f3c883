"""The result of a decision: pieces and their sources."""

from __future__ import annotations

from typing import Final, NamedTuple

from dfengine.wire import Source


class Supernode(NamedTuple):
    """The supernode as a source; its address is not needed here."""

    cid: None = None
    ip: str = ""
    port: int = 0
    path: str = ""


CDN: Final = Supernode()


class Assignment(NamedTuple):
    """Piece n; the first source holds a slot for it, the others are alternates."""

    n: int
    sources: tuple[Source | Supernode, ...]


class Pull(NamedTuple):
    """Answer to a pull.

    kind: "pieces"; "finished": the download has all pieces; "busy": it is at its download limit; "wait": no piece that it lacks is offered;
    "nosource": pieces that it lacks are offered, but no source has a slot.
    """

    kind: str
    pieces: tuple[Assignment, ...] = ()


FINISHED: Final = Pull("finished")
BUSY: Final = Pull("busy")
WAIT: Final = Pull("wait")
NOSOURCE: Final = Pull("nosource")
