"""What a program downloads with: its settings, and what it has running."""

from __future__ import annotations

import atexit
import contextlib
import os
from weakref import ref

from dfengine.app import keywords
from dfengine.errors import BadValue, Cancelled, IllegalEvent
from dfengine.programs.download import Download
from dfengine.programs.handle import CLOSING, Handle
from dfengine.programs.preheat import Preheat
from dfengine.settings import ShareSettings
from dfengine.streaming import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Any, Self, TypeVar, Unpack

    from dfengine.app.keywords import Keywords, Path
    from dfengine.client import Result
    from dfengine.client.sharing import Sharing
    from dfengine.client.tree import TreeResult
    from dfengine.files import File
    from dfengine.programs.progress import Tell
    from dfengine.programs.share import Share
    from dfengine.programs.tree_download import TreeDownload
    from dfengine.settings import GetSettings

    Patterns = str | Iterable[str]
    H = TypeVar("H", bound=Handle[Any])
    M = TypeVar("M")


TTL = ShareSettings.ttl
"""Seconds for which a file is shared, if nothing else is said."""

_left_open: dict[tuple[int, int], Callable[[BaseException], None]] = {}
"""What ends the streams and files that are open, by process and id."""


def _close_left_open() -> None:
    """Before the interpreter is taken apart: threads still run, and modules can be imported."""
    for (process, _), close in [*_left_open.items()]:
        if process == os.getpid():
            with contextlib.suppress(Exception):
                close(Cancelled("the program ends"))


atexit.register(_close_left_open)


class Client:
    """Downloads with the same settings. Any thread may use it, also several at once; a process may have several.

    Keywords are the settings of `dfengine get`, each a value or text as on the command line: `Client(nodes=["sn1", "sn2"], minrate="1M")`.
    Those of a method override the client's, and None leaves the client's as it is. Nothing else is read: neither configuration files nor
    the environment; for these see `configured`. Raises BadValue for a value that the command line would not take, TypeError for a keyword
    that is none.

    It has no thread, socket or file of its own. So it may be pickled, and used in a process that was forked from the one that made it: what
    runs belongs to the process that began it. Use it as a context, or `close` it, to end what runs.
    """

    def __init__(self, **settings: Unpack[Keywords]) -> None:
        self._settings: dict[str, Any] = keywords.checked(settings)
        self._begin()

    @classmethod
    def configured(cls, **settings: Unpack[Keywords]) -> Self:
        """With what configuration files and the environment say of `dfengine get`, as the command line reads them, below `settings`.

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
        """What ends the streams and files that are open, by their ids."""

    def __getstate__(self) -> dict[str, Any]:
        return self._settings

    def __setstate__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._begin()

    def get(self, url: str, output: Path, *, progress: Tell | None = None, **settings: Unpack[Keywords]) -> Result:
        """Download `url` to the file `output`; a folder, or a path that ends in a slash, takes a file named by the URL.

        progress: called about ten times a second, by this thread, with a Progress. What it raises ends the download, and is raised here.
        Raises subclasses of DfengineError. Whatever is raised, KeyboardInterrupt too, leaves no thread and no open file, and what was
        fetched beside the output: the next download goes on from there.
        """
        return self._download(url, output, progress, settings).run()

    def download(self, url: str, output: Path, *, progress: Tell | None = None, **settings: Unpack[Keywords]) -> Download:
        """The same in a thread of its own, which also calls `progress`. Raises BadValue and TypeError; all else is raised by `wait`."""
        return self._download(url, output, progress, settings).start()

    def fetch_tree(
        self, url: str, directory: Path, *, include: Patterns = (), exclude: Patterns = (), progress: Tell | None = None,
        **settings: Unpack[Keywords],
    ) -> TreeResult:  # fmt: skip
        """Download all files below the directory that `url` names into `directory`, which is made if it is missing.

        include, exclude: globs, one or several: a file is taken if one of `include` matches it, or there is none, and none of `exclude`
        does; see `dfengine.globs`. progress: as for `get`, of all files together. Files that are there already as an earlier download has
        written them, and are still those of the origin, are kept, unless `force` is given.

        Raises Incomplete when some files could not be written, which names them, and other subclasses of DfengineError when nothing more
        could be. Either leaves what was fetched: called again it goes on from there.
        """
        return self._tree(url, directory, include, exclude, progress, settings).run()

    def download_tree(
        self, url: str, directory: Path, *, include: Patterns = (), exclude: Patterns = (), progress: Tell | None = None,
        **settings: Unpack[Keywords],
    ) -> TreeDownload:  # fmt: skip
        """As `fetch_tree`, in a thread of its own, which also calls `progress`. Raises BadValue and TypeError; `wait` raises all else."""
        return self._tree(url, directory, include, exclude, progress, settings).start()

    def stream(self, url: str, *, progress: Tell | None = None, **settings: Unpack[Keywords]) -> Reader:
        """`url` in order as a readable binary file, with no byte on a disk; see Reader. progress: as for `download`.

        `window` (pieces, or text as `16` or `256M`), `window_bytes` and `cache` (bytes) are for streams.
        """
        from dfengine.programs.progress import Teller

        self._check()
        reader = Reader(self.settings(url, None, settings), Teller(progress) if progress is not None else None)
        self._close_with(reader, Reader.stop, lambda reader, error: reader.__exit__(type(error), error, None))
        return reader

    def open(self, url: str, *, store: str = "", buffering: int = 0, **settings: Unpack[Keywords]) -> File | io.BufferedReader:
        """`url` as a file to seek in, whose pieces are fetched when they are read; see `dfengine.files.File` and `dfengine.files.open`.

        Keywords are those of `get`; `timeout` is for one read.
        """
        from dfengine import files

        self._check()
        keywords.not_of_streams(settings)
        file = files.open(self.settings(url, None, settings), store=store, buffering=buffering)
        raw = file if isinstance(file, files.File) else file.raw
        assert isinstance(raw, files.File)
        self._close_with(raw, lambda raw, _: raw.close())
        return file

    def file(self, url: str, *, store: str = "", **settings: Unpack[Keywords]) -> File:
        """As `open`, but it is opened by its first use."""
        from dfengine import files

        self._check()
        keywords.not_of_streams(settings)
        file = files.File(self.settings(url, None, settings), store)
        self._close_with(file, lambda file, _: file.close())
        return file

    def preheat(self, url: str, **settings: Unpack[Keywords]) -> Preheat:
        """Let the supernode that downloads of `url` ask first fetch it now. `wait` of what this returns waits until it has all of it.

        Raises BadValue, also for settings that a supernode cannot be told.
        """
        self._check()
        keywords.not_of_streams(settings)
        return self._kept(Preheat(self.settings(url, None, settings), self._running.discard)).start()

    def share(self, path: Path, *, replicas: int = 0, ttl: float | str = TTL, **settings: Unpack[Keywords]) -> Sharing:
        """Give a file or directory of this host to the swarm: others `get` the `name` of the result.

        It is read once, and served from where it lies by this host's peer server, for `ttl` (seconds, or text as `7d`). replicas: that many
        of the `nodes` keep a copy as long; then this returns when the copies are whole. What raises is shared no longer.

        Raises BadValue, TypeError for a setting that a share has not, StorageError, SupernodeError, Cancelled when the client is closed.
        """
        return self.sharing(path, replicas, ttl, settings).run()

    def sharing(self, path: Path, replicas: int, ttl: float | str, settings: Keywords) -> Share:
        """As `share`, before it is begun. Raises BadValue, TypeError."""
        from dfengine.programs.share import Share

        self._check()
        return self._kept(Share(keywords.sharing(path, replicas, ttl, self._settings, settings), self._running.discard))

    def settings(self, url: str, output: Path | None, settings: Keywords, tree: bool = False) -> GetSettings:
        """What a download of `url` is to be done with; output: None for a stream, or for a tree. Raises BadValue, TypeError."""
        return keywords.settings(url, output, self._settings, keywords.checked(settings), tree=tree)

    def _download(self, url: str, output: Path, progress: Tell | None, settings: Keywords) -> Download:
        self._check()
        if output is None:
            raise BadValue("output: None is given, not a path")
        keywords.not_of_streams(settings)
        return self._kept(Download(self.settings(url, output, settings), progress, self._running.discard))

    def _tree(
        self, url: str, directory: Path, include: Patterns, exclude: Patterns, progress: Tell | None, settings: Keywords
    ) -> TreeDownload:
        from dfengine.client.tree import TreeSettings
        from dfengine.programs.tree_download import TreeDownload

        self._check()
        keywords.not_of_streams(settings)
        wanted, unwanted = (keywords.patterns(*each) for each in (("include", include), ("exclude", exclude)))
        get = self.settings(url, None, settings, tree=True).replace(output=keywords.directory(directory))
        made = TreeSettings(get, wanted, unwanted)
        made.check()
        return self._kept(TreeDownload(made, progress, self._running.discard))

    def _close_with(
        self, made: M, end: Callable[[M, BaseException], None], release: Callable[[M, BaseException], object] | None = None
    ) -> None:
        """`close` ends it, unless the program has dropped it before, by which it ends, too. release: at the end of the program."""
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
        """Cancel what runs, and wait until it has ended. Again: nothing."""
        self._closed = True
        self.cancel()
        for handle in [*self._running]:
            handle.ended(CLOSING)

    def cancel(self) -> None:
        """Cancel what runs: downloads, streams and preheats raise Cancelled, open files are closed. Returns at once."""
        error = Cancelled("the client was closed")
        for handle in [*self._running]:
            handle.stop(error)
        for close in [*self._open.values()]:
            close(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
