"""dfengine moves one file to many machines at once: every machine that has a piece serves it to the others.

Modules at this level are the pure core: values and arithmetic, no sockets, files or clocks. Packages are the outside world, one per role:

    app        the command line; composes the others
    net        sockets: servers, the blocking client, sendfile, TLS, limits
    origin     the servers that files come from
    storage    files and descriptors: where piece n is
    peer       serves a host's pieces
    client     downloads one file
    streaming  downloads one in order, through memory
    supernode  decides who takes what from whom: swarm (the pure engine), copies (its files), fastpath (pulls in Cython)

    import dfengine
    result = dfengine.get("http://origin/file", "file", nodes=["supernode:8002"])
    with dfengine.stream("http://origin/file", nodes=["supernode:8002"]) as file:
        shutil.copyfileobj(file, somewhere)
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dfengine.client import Result
    from dfengine.streaming import Reader

__version__ = "0.1.0"
__all__ = ["__version__", "get", "stream"]


def get(url: str, output: str, *, nodes: list[str] | tuple[str, ...] = (), **settings: Any) -> Result:
    """Download `url` to the file `output`, from the swarm of the supernodes `nodes` (HOST[:PORT][=WEIGHT]) if there are any.

    Further settings are those of `dfengine.settings.GetSettings`. Raises subclasses of `dfengine.errors.DfengineError`.
    """
    from dfengine import client
    from dfengine.settings import GetSettings, SupernodeAddress

    return client.get(GetSettings(url=url, output=output, nodes=tuple(SupernodeAddress.parse(node) for node in nodes), **settings))


def stream(url: str, *, nodes: list[str] | tuple[str, ...] = (), **settings: Any) -> Reader:
    """`url` in order, as a file-like reader and an asynchronous iterator, with no byte on a disk; see `dfengine.streaming.Reader`."""
    from dfengine.streaming import stream as open_stream

    return open_stream(url, nodes=nodes, **settings)
