"""dfengine distributes one file to many machines: each machine serves the pieces that it has to the others.

Modules at this level are the pure core: values and arithmetic, no sockets, files or clocks. Each package has one role outside of it:

    app        the command line; composes the others
    programs   the client for programs; composes the others too
    net        sockets: servers, the blocking client, sendfile, TLS, limits
    origin     the servers that files are read from
    storage    files and descriptors: where each piece is stored
    peer       serves a host's pieces
    client     downloads one file
    streaming  downloads one file in order, through memory
    files      opens one file, and fetches the pieces that are read
    filesystem the client's files for fsspec: paths, ranges, readers
    proxy      serves images, models, buckets and packages to other programs of the host, and fetches them through the swarm
    supernode  assigns pieces and sources: swarm (the pure engine), copies (its files), fastpath (pulls in Cython), cluster (leadership of
               tasks), console (the operators' API and page)

    import dfengine
    result = dfengine.get("http://origin/file", "file", nodes=["supernode:8002"])
    with dfengine.stream("http://origin/file", nodes=["supernode:8002"]) as file:
        shutil.copyfileobj(file, somewhere)
    with dfengine.open("http://origin/file", nodes=["supernode:8002"]) as file:
        footer = file.pread(file.size - 64, 64)

docs/python.md explains these functions, `Client`, and `dfengine.aio`. All names but these functions are imported on first use.
"""

from __future__ import annotations

from dfengine.about import VERSION as __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    import io
    from typing import Any, Literal, Unpack, overload

    from dfengine import aio as aio
    from dfengine import errors as errors
    from dfengine.app.keywords import Keywords, Path
    from dfengine.client import Result as Result
    from dfengine.client.sharing import Sharing as Sharing
    from dfengine.client.tree_fetch import TreeResult as TreeResult
    from dfengine.errors import BadValue as BadValue
    from dfengine.errors import CallerError as CallerError
    from dfengine.errors import Cancelled as Cancelled
    from dfengine.errors import DfengineError as DfengineError
    from dfengine.errors import DigestMismatch as DigestMismatch
    from dfengine.errors import DiskFull as DiskFull
    from dfengine.errors import Incomplete as Incomplete
    from dfengine.errors import LocalError as LocalError
    from dfengine.errors import OriginChanged as OriginChanged
    from dfengine.errors import OriginError as OriginError
    from dfengine.errors import OriginForbidden as OriginForbidden
    from dfengine.errors import OriginUnreachable as OriginUnreachable
    from dfengine.errors import OriginUntrusted as OriginUntrusted
    from dfengine.errors import RemoteError as RemoteError
    from dfengine.errors import StorageError as StorageError
    from dfengine.errors import SupernodeError as SupernodeError
    from dfengine.errors import TimedOut as TimedOut
    from dfengine.errors import TooSlow as TooSlow
    from dfengine.errors import Unverified as Unverified
    from dfengine.files import File as File
    from dfengine.programs.client import Client as Client
    from dfengine.programs.client import Patterns
    from dfengine.programs.download_handle import Download as Download
    from dfengine.programs.preheat import Preheat as Preheat
    from dfengine.programs.preheat import Preheated as Preheated
    from dfengine.programs.progress import Progress as Progress
    from dfengine.programs.progress import ProgressCallback
    from dfengine.programs.tree_download import TreeDownload as TreeDownload
    from dfengine.streaming import Reader as Reader
    from dfengine.task import Digest as Digest

_LATE = {
    "Client": "programs.client",
    "File": "files",
    "Download": "programs.download_handle",
    "Preheat": "programs.preheat",
    "Preheated": "programs.preheat",
    "Progress": "programs.progress",
    "Reader": "streaming",
    "Result": "client",
    "Sharing": "client.sharing",
    "TreeDownload": "programs.tree_download",
    "TreeResult": "client.tree_fetch",
    "Digest": "task",
    "aio": "",
    "errors": "",
    **dict.fromkeys(
        (
            "BadValue", "CallerError", "Cancelled", "DfengineError", "DigestMismatch", "DiskFull", "Incomplete", "LocalError",
            "OriginChanged", "OriginError", "OriginForbidden", "OriginUnreachable", "OriginUntrusted", "RemoteError", "StorageError",
            "SupernodeError", "TimedOut", "TooSlow", "Unverified",
        ),
        "errors",
    ),
}  # fmt: skip
"""Public name -> the module that defines it, "" for a module itself. A module is imported when the name is first used."""

__all__ = ["__version__", "download", "download_tree", "fetch_tree", "get", "open", "preheat", "share", "stream", *_LATE]


def get(url: str, output: Path, *, progress: ProgressCallback | None = None, **settings: Unpack[Keywords]) -> Result:
    """Download `url` to the file `output`, through the swarm of the supernodes `nodes` (HOST[:PORT][=WEIGHT]) if there are any.

    See `dfengine.Client.get`. Settings that are not given are read from configuration files and the environment, as by `dfengine get`; see
    docs/commands.md. Further keywords are settings: sizes in bytes, rates in bytes per second, times in seconds, or text as on the command
    line (`minrate="1M"`, `digest="sha256:HEX"`). Raises subclasses of `dfengine.DfengineError`.
    """
    return _configured().get(url, output, progress=progress, **settings)


def download(url: str, output: Path, *, progress: ProgressCallback | None = None, **settings: Unpack[Keywords]) -> Download:
    """Start `get` in a thread of its own. The result is a handle with `wait`, `cancel`, `progress` and `result`."""
    return _configured().download(url, output, progress=progress, **settings)


def fetch_tree(
    url: str, directory: Path, *, include: Patterns = (), exclude: Patterns = (), progress: ProgressCallback | None = None,
    **settings: Unpack[Keywords],
) -> TreeResult:
    """Download all files below the directory that `url` names into `directory`; see `dfengine.Client.fetch_tree`."""
    return _configured().fetch_tree(url, directory, include=include, exclude=exclude, progress=progress, **settings)


def download_tree(
    url: str, directory: Path, *, include: Patterns = (), exclude: Patterns = (), progress: ProgressCallback | None = None,
    **settings: Unpack[Keywords],
) -> TreeDownload:
    """Start `fetch_tree` in a thread of its own. The result is a handle with `wait`, `cancel`, `progress` and `result`."""
    return _configured().download_tree(url, directory, include=include, exclude=exclude, progress=progress, **settings)


def stream(url: str, *, progress: ProgressCallback | None = None, **settings: Unpack[Keywords]) -> Reader:
    """Read `url` in order, through memory alone: a file-like reader and asynchronous iterator. See `dfengine.streaming.Reader`.

    Keywords are those of `get`, and for streams `window` (pieces, or text as `16` or `256M`), `window_bytes` and `cache` (bytes).
    """
    return _configured().stream(url, progress=progress, **settings)


if TYPE_CHECKING:

    @overload
    def open(url: str, *, store: str = "", buffering: Literal[0] = 0, **settings: Unpack[Keywords]) -> File: ...

    @overload
    def open(url: str, *, store: str = "", buffering: int, **settings: Unpack[Keywords]) -> File | io.BufferedReader: ...


def open(url: str, *, store: str = "", buffering: int = 0, **settings: Unpack[Keywords]) -> File | io.BufferedReader:
    """Open `url` as a seekable file whose pieces are fetched when they are read. See `dfengine.files.File` and `dfengine.files.open`.

    Keywords are those of `get`; `timeout` applies to each read.
    """
    return _configured().open(url, store=store, buffering=buffering, **settings)


def preheat(url: str, **settings: Unpack[Keywords]) -> Preheat:
    """Let a supernode fetch `url` in advance. The result is a handle with `wait`, `cancel` and `result`."""
    return _configured().preheat(url, **settings)


def share(path: Path, *, replicas: int = 0, ttl: float | str = 86400.0, **settings: Unpack[Keywords]) -> Sharing:
    """Share a file or directory of this host in the swarm of `nodes`, for `ttl` (seconds, or text as `7d`); see `dfengine.Client.share`."""
    return _configured().share(path, replicas=replicas, ttl=ttl, **settings)


def _configured() -> Client:
    """A new client for these functions: each call uses the configuration as it is at that time."""
    from dfengine.programs.client import Client

    return Client.configured()


def __getattr__(name: str) -> Any:
    module = _LATE.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(f"{__name__}.{module}"), name) if module else import_module(f"{__name__}.{name}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
