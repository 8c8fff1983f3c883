"""dfengine moves one file to many machines at once: every machine that has a piece serves it to the others.

Modules at this level are the pure core: values and arithmetic, no sockets, files or clocks. Packages are the outside world, one per role:

    app        the command line; composes the others
    net        sockets: servers, the blocking client, sendfile, TLS, limits
    origin     the servers that files come from
    storage    files and descriptors: where piece n is
    peer       serves a host's pieces
    client     downloads one file
    streaming  downloads one in order, through memory
    files      opens one, and fetches what is read of it
    supernode  decides who takes what from whom: swarm (the pure engine), copies (its files), fastpath (pulls in Cython)

    import dfengine
    result = dfengine.get("http://origin/file", "file", nodes=["supernode:8002"])
    with dfengine.stream("http://origin/file", nodes=["supernode:8002"]) as file:
        shutil.copyfileobj(file, somewhere)
    with dfengine.open("http://origin/file", nodes=["supernode:8002"]) as file:
        footer = file.pread(file.size - 64, 64)
"""

from __future__ import annotations

from dfengine.about import VERSION as __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    import io
    from collections.abc import Iterable
    from typing import Unpack

    from dfengine.app.keywords import Keywords
    from dfengine.client import Result
    from dfengine.files import File
    from dfengine.streaming import Reader

__all__ = ["__version__", "get", "open", "stream"]


def get(url: str, output: str, *, nodes: Iterable[str] = (), **settings: Unpack[Keywords]) -> Result:
    """Download `url` to the file `output`, from the swarm of the supernodes `nodes` (HOST[:PORT][=WEIGHT]) if there are any.

    Further keywords are settings of `dfengine.settings.GetSettings`: sizes in bytes, rates in bytes per second, times in seconds, or text
    as on the command line (`minrate="1M"`, `digest="sha256:HEX"`). Raises subclasses of `dfengine.errors.DfengineError`.
    """
    from dfengine import client
    from dfengine.app import keywords

    return client.get(keywords.settings(url, output, nodes, settings))


def stream(url: str, *, nodes: Iterable[str] = (), **settings: Unpack[Keywords]) -> Reader:
    """`url` in order, as a file-like reader and an asynchronous iterator, with no byte on a disk; see `dfengine.streaming.Reader`.

    Keywords are those of `get`; `window` (pieces, or text as `16` or `256M`), `window_bytes` and `cache` (bytes) are for streams.
    """
    from dfengine.app import keywords
    from dfengine.streaming import Reader

    return Reader(keywords.settings(url, "-", nodes, settings))


def open(
    url: str, *, nodes: Iterable[str] = (), store: str = "", buffering: int = 0, **settings: Unpack[Keywords]
) -> File | io.BufferedReader:
    """`url` as a file to seek in, whose pieces are fetched when they are read; see `dfengine.files.File` and `dfengine.files.open`.

    Keywords are those of `get`; `timeout` is for one read.
    """
    from dfengine import files
    from dfengine.app import keywords

    return files.open(keywords.settings(url, "-", nodes, settings), store=store, buffering=buffering)
