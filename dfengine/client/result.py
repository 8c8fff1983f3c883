"""The result of a download."""

from __future__ import annotations

from dfengine.value import Value


class Result(Value):
    """Result of a download. Lengths in bytes. digest: `xxh3:HEX` if requested, else "". back_to_source: why the origin was used, or None.

    from_host: bytes from another download of this host. serves: whether this host serves the file to peers; why_not: why not, else "".
    peers: number of peers that sent pieces. notices: messages for the user, each a line of text; the command line prints them.
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
