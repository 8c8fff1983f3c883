"""How a download went."""

from __future__ import annotations

from dfengine.value import Value


class Result(Value):
    """How a download went. Lengths in bytes; digest `xxh3:HEX` if it was asked for, else ""; back_to_source: why, or None.

    from_host: from another download of this host. serves: this host serves the file to peers; why_not: why it does not, else "".
    peers: those that pieces came from. notices: what a user may want to know of it, each a line of text; the command line prints them.
    """

    url: str
    output: str
    task_id: str
    length: int
    seconds: float
    from_peers: int
    from_supernode: int
    from_origin: int
    resumed: int
    digest: str
    back_to_source: str | None
    hedged: int
    serves: bool = False
    why_not: str = ""
    peers: int = 0
    from_host: int = 0
    notices: tuple[str, ...] = ()
