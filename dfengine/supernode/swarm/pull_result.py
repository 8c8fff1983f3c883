"""The result of a decision: pieces and their sources."""

from __future__ import annotations

from typing import Final, NamedTuple

from dfengine.wire import Source


class SupernodeSource(NamedTuple):
    """The supernode as a source; its address is not needed here."""

    cid: None = None
    ip: str = ""
    port: int = 0
    path: str = ""


CDN: Final = SupernodeSource()


class Assignment(NamedTuple):
    """Piece n; the first source holds a slot for it, the others are alternates."""

    n: int
    sources: tuple[Source | SupernodeSource, ...]


class PullResult(NamedTuple):
    """Answer to a pull.

    kind: "pieces"; "finished": the download has all pieces; "busy": it is at its download limit; "wait": no piece that it lacks is offered;
    "nosource": pieces that it lacks are offered, but no source has a slot.
    """

    kind: str
    pieces: tuple[Assignment, ...] = ()


FINISHED: Final = PullResult("finished")
BUSY: Final = PullResult("busy")
WAIT: Final = PullResult("wait")
NOSOURCE: Final = PullResult("nosource")
