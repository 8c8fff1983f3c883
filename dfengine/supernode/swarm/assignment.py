"""The result of a decision: pieces and their sources."""

from __future__ import annotations

from typing import Final, NamedTuple

from dfengine.wire import Source


class Supernode(NamedTuple):
    """The supernode as a source; it knows its own address."""

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
    """What a pull is answered with.

    kind: "pieces"; "finished" all pieces are here or arrived; "busy" at its download limit; "wait" nothing it lacks is offered;
    "nosource" what it lacks is offered, but no source has a slot.
    """

    kind: str
    pieces: tuple[Assignment, ...] = ()


FINISHED: Final = Pull("finished")
BUSY: Final = Pull("busy")
WAIT: Final = Pull("wait")
NOSOURCE: Final = Pull("nosource")
