"""The client of a program: its settings, and its running work."""

from __future__ import annotations

import atexit
import contextlib
import os
from weakref import ref

from dfengine.app import keywords
from dfengine.errors import BadValue, Cancelled, IllegalEvent
from dfengine.programs.download_handle import Download
from dfengine.programs.handle import CLOSING, Handle
from dfengine.programs.preheat import Preheat
from dfengine.settings import ShareSettings
from dfengine.streaming import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Any, Literal, Self, TypeVar, Unpack, overload

    from dfengine.app.keywords import Keywords, Path
    from dfengine.client import Result
    from dfengine.client.sharing import Sharing
    from dfengine.client.tree_fetch import TreeResult
    from dfengine.files import File
    from dfengine.programs.progress import ProgressCallback
    from dfengine.programs.share import Share
    from dfengine.programs.tree_download import TreeDownload
    from dfengine.settings import GetSettings

    Patterns = str | Iterable[str]
    H = TypeVar("H", bound=Handle[Any])
    M = TypeVar("M")


TTL = ShareSettings.ttl
"""Default number of seconds for which a file is shared."""

_left_open: dict[tuple[int, int], Callable[[BaseException], None]] = {}
"""Functions that end the open streams and files, by process and id."""


def _close_left_open() -> None:
    """Close open streams and files before the interpreter is finalized, while threads run and modules can be imported."""
    for (process, _), close in [*_left_open.items()]:
        if process == os.getpid():
            with contextlib.suppress(Exception):
                close(Cancelled("the program ends"))


atexit.register(_close_left_open)


class Client:
    """A client for downloads with the same settings. Several threads may use it at the same time, and a process may have several clients.

    Keywords are the settings of `dfengine get`, each a value or text as on the command line: `Client(nodes=["sn1", "sn2"], minrate="1M")`.
    A method's keywords override the client's; None keeps the client's value. Neither configuration files nor the environment are read; for
    these see `configured`. Raises BadValue for a value that the command line would not accept, TypeError for an unknown keyword.

    A client has no threads, sockets or files. So it may be pickled, and used in a process that was forked from the one that created it:
    work belongs to the process that started it. Use it as a context manager, or `close` it, to end its running work.
    """

    def __init__(self, **settings: Unpack[Keywords]) -> None:
        self._settings: dict[str, Any] = keywords.checked(settings)
        self._begin()

    @classmethod
    def configured(cls, **settings: Unpack[Keywords]) -> Self:
        """A client with the settings of `dfengine get` from configuration files and the environment; `settings` override them.

        Raises BadValue, TypeError.
        """
        from dfengine.app import environment

        made = cls(**settings)
        made._settings = {**environment.read(), **made._settings}
        return made

    def _begin(self) -> None:
        self._closed = False
        self._running: set[Handle[Any]] = set()
        self._open: dict[int, Callable[[BaseException], None]] = {}
        """Functions that end the open streams and files, by their ids."""

    def __getstate__(self) -> dict[str, Any]:
        return self._settings

    def __setstate__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._begin()

    def get(self, url: str, output: Path, *, progress: ProgressCallback | None = None, **settings: Unpack[Keywords]) -> Result:
        """Download `url` to the file `output`. In a folder, or at a path that ends in a slash, the file is named after the URL.

        progress: called about ten times a second, by this thread, with a Progress. Its exceptions end the download, and are raised here.
        Raises subclasses of DfengineError. After any exception, including KeyboardInterrupt, no thread and no open file remains; fetched
        pieces stay beside the output, and the next download resumes from them.
        """
        return self._download(url, output, progress, settings).run()

    def download(self, url: str, output: Path, *, progress: ProgressCallback | None = None, **settings: Unpack[Keywords]) -> Download:
        """As `get`, in a separate thread, which also calls `progress`. Raises BadValue and TypeError; `wait` raises all other errors."""
        return self._download(url, output, progress, settings).start()

    def fetch_tree(
        self, url: str, directory: Path, *, include: Patterns = (), exclude: Patterns = (), progress: ProgressCallback | None = None,
        **settings: Unpack[Keywords],
    ) -> TreeResult:  # fmt: skip
        """Download all files below the directory that `url` names into `directory`, which is created if it does not exist.

        include, exclude: globs, one or several: a file is wanted if one of `include` matches it, or there is none, and none of `exclude`
        matches; see `dfengine.globs`. progress: as for `get`, of all files together. Files that an earlier download has written, and that
        are unchanged here and at the origin, are kept, unless `force` is given.

        Raises Incomplete if some files could not be written, which names them, and other subclasses of DfengineError if the download could
        not continue. In both cases fetched data stays, and another call resumes from it.
        """
        return self._tree(url, directory, include, exclude, progress, settings).run()

    def download_tree(
        self, url: str, directory: Path, *, include: Patterns = (), exclude: Patterns = (), progress: ProgressCallback | None = None,
        **settings: Unpack[Keywords],
    ) -> TreeDownload:  # fmt: skip
        """As `fetch_tree`, in a separate thread, which also calls `progress`. Raises BadValue and TypeError; `wait` raises other errors."""
        return self._tree(url, directory, include, exclude, progress, settings).start()

    def stream(self, url: str, *, progress: ProgressCallback | None = None, **settings: Unpack[Keywords]) -> Reader:
        """Stream `url` in order as a readable binary file, without writing to disk; see Reader. progress: as for `download`.

        `window` (pieces, or text such as `16` or `256M`), `window_bytes` and `cache` (bytes) are for streams.
        """
        from dfengine.programs.progress import ProgressReporter

        self._check()
        reader = Reader(self.settings(url, None, settings), ProgressReporter(progress) if progress is not None else None)
        self._close_with(reader, Reader.stop, lambda reader, error: reader.__exit__(type(error), error, None))
        return reader

    if TYPE_CHECKING:

        @overload
        def open(self, url: str, *, store: str = "", buffering: Literal[0] = 0, **settings: Unpack[Keywords]) -> File: ...

        @overload
        def open(self, url: str, *, store: str = "", buffering: int, **settings: Unpack[Keywords]) -> File | io.BufferedReader: ...

    def open(self, url: str, *, store: str = "", buffering: int = 0, **settings: Unpack[Keywords]) -> File | io.BufferedReader:
        """Open `url` as a seekable file; its pieces are fetched when they are read. See `dfengine.files.File` and `dfengine.files.open`.

        Keywords are those of `get`; `timeout` applies to each read.
        """
        from dfengine import files

        self._check()
        keywords.reject_stream_settings(settings)
        file = files.open(self.settings(url, None, settings), store=store, buffering=buffering)
        raw = file if isinstance(file, files.File) else file.raw
        assert isinstance(raw, files.File)
        self._close_with(raw, lambda raw, _: raw.close())
        return file

    def file(self, url: str, *, store: str = "", **settings: Unpack[Keywords]) -> File:
        """As `open`, but the file is opened at its first use."""
        from dfengine import files

        self._check()
        keywords.reject_stream_settings(settings)
        file = files.File(self.settings(url, None, settings), store)
        self._close_with(file, lambda file, _: file.close())
        return file

    def preheat(self, url: str, **settings: Unpack[Keywords]) -> Preheat:
        """Start a preheat at the supernode that downloads of `url` try first. `wait` of the result waits until the supernode has the file.

        Raises BadValue, also for settings that a request to a supernode cannot carry.
        """
        self._check()
        keywords.reject_stream_settings(settings)
        return self._kept(Preheat(self.settings(url, None, settings), self._running.discard)).start()

    def share(self, path: Path, *, replicas: int = 0, ttl: float | str = TTL, **settings: Unpack[Keywords]) -> Sharing:
        """Share a file or directory of this host with the swarm: other hosts `get` the `name` of the result.

        The file is read once, and this host's peer server serves it in place, for `ttl` (seconds, or text such as `7d`). replicas: number
        of `nodes` that keep a copy for that time; this then returns when the copies are complete. An exception ends the share.

        Raises BadValue, TypeError for a setting that shares do not have, StorageError, SupernodeError, Cancelled if the client is closed.
        """
        return self.sharing(path, replicas, ttl, settings).run()

    def sharing(self, path: Path, replicas: int, ttl: float | str, settings: Keywords) -> Share:
        """A share as by `share`, not started yet. Raises BadValue, TypeError."""
        from dfengine.programs.share import Share

        self._check()
        return self._kept(Share(keywords.sharing(path, replicas, ttl, self._settings, settings), self._running.discard))

    def settings(self, url: str, output: Path | None, settings: Keywords, tree: bool = False) -> GetSettings:
        """The settings of a download of `url`. output: None for a stream, or for a tree. Raises BadValue, TypeError."""
        return keywords.settings(url, output, self._settings, keywords.checked(settings), tree=tree)

    def _download(self, url: str, output: Path, progress: ProgressCallback | None, settings: Keywords) -> Download:
        self._check()
        if output is None:
            raise BadValue("output: None is given, not a path")
        keywords.reject_stream_settings(settings)
        return self._kept(Download(self.settings(url, output, settings), progress, self._running.discard))

    def _tree(
        self, url: str, directory: Path, include: Patterns, exclude: Patterns, progress: ProgressCallback | None, settings: Keywords
    ) -> TreeDownload:
        from dfengine.client.tree_fetch import TreeSettings
        from dfengine.programs.tree_download import TreeDownload

        self._check()
        keywords.reject_stream_settings(settings)
        wanted, unwanted = (keywords.patterns(*each) for each in (("include", include), ("exclude", exclude)))
        get = self.settings(url, None, settings, tree=True).replace(output=keywords.directory(directory))
        made = TreeSettings(get, wanted, unwanted)
        made.check()
        return self._kept(TreeDownload(made, progress, self._running.discard))

    def _close_with(
        self, made: M, end: Callable[[M, BaseException], None], release: Callable[[M, BaseException], object] | None = None
    ) -> None:
        """Have `close` end `made`, unless the program has dropped it, which also ends it. release: called at the end of the program."""
        number, open = id(made), self._open
        key = os.getpid(), number

        def dropped(_: object) -> None:
            open.pop(number, None)
            _left_open.pop(key, None)

        found = ref(made, dropped)

        def with_it(call: Callable[[M, BaseException], object]) -> Callable[[BaseException], None]:
            def ends(error: BaseException) -> None:
                made = found()
                if made is not None:
                    call(made, error)

            return ends

        open[number], _left_open[key] = with_it(end), with_it(release or end)

    def _kept(self, handle: H) -> H:
        self._running.add(handle)
        return handle

    def _check(self) -> None:
        if self._closed:
            raise IllegalEvent("the client is closed")

    def close(self) -> None:
        """Cancel all running work, and wait until it has ended. A second call has no effect."""
        self._closed = True
        self.cancel()
        for handle in [*self._running]:
            handle.ended(CLOSING)

    def cancel(self) -> None:
        """Cancel all running work: downloads, streams and preheats raise Cancelled, open files are closed. Returns at once."""
        error = Cancelled("the client was closed")
        for handle in [*self._running]:
            handle.stop(error)
        for close in [*self._open.values()]:
            close(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
