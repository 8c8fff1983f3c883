"""The file system that is registered in fsspec as `df`. It is read-only."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from glob import has_magic
from typing import Any, TypeVar, cast

from fsspec.asyn import AsyncFileSystem, get_loop
from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.implementations.chained import ChainedFileSystem
from fsspec.utils import isfilelike

import dfengine
from dfengine.errors import BadValue, OriginError
from dfengine.filesystem import threads
from dfengine.filesystem.listings import Description, directories
from dfengine.filesystem.open_files import OpenFiles
from dfengine.filesystem.protocols import ORIGINS, Origins
from dfengine.filesystem.read_only import ReadOnly, refuse
from dfengine.filesystem.reader import BUFFER, MAX_BUFFER, Position, Reader

T = TypeVar("T")

OF_FSSPEC = frozenset(("use_listings_cache", "listings_expiry_time", "max_paths", "skip_instance_cache", "auto_mkdir"))
"""Options that fsspec and its users may pass to any file system."""

PREFIXES = ("df://", "df::")

EXPIRY = 60.0
"""Seconds for which a listing is cached."""

STORES = ("", "memory", "disk")

ABSENT, REFUSED = (404, 410), (401, 403)
"""HTTP statuses of an origin."""


class FileSystem(ReadOnly, AsyncFileSystem, ChainedFileSystem):  # type: ignore[misc]  # fsspec is untyped
    """Files of the swarm by their URLs: `fsspec.open("df::https://host/file", nodes=["supernode"])`.

    Options are those of `dfengine.Client.configured`, and store: where open files are stored, see `dfengine.open`. Options of the URL's own
    protocol are given under its name, as in fsspec's chains: `https={"headers": {...}}`. fo, target_protocol, target_options: how fsspec
    passes the part after `df::`. Raises BadValue, TypeError.

    A path is the URL. All reads of a URL by this object are one download (`open_files`); `invalidate_cache` ends it, so that the next read
    requests the origin's present version. An origin's 404 and 410 raise FileNotFoundError, its 401 and 403 PermissionError; other errors
    are dfengine's. It may be used in a forked child and pickled to another process; each process has its own downloads.
    """

    protocol = "df"
    root_marker = ""
    _strip_tokenize_options = ("fo",)

    def __init__(
        self, fo: str = "", target_protocol: str = "", target_options: dict[str, Any] | None = None, asynchronous: bool = False,
        loop: asyncio.AbstractEventLoop | None = None, batch_size: int | None = None, store: str | None = None, **settings: Any,
    ) -> None:
        self._pid, self._loop = os.getpid(), loop
        own = {"listings_expiry_time": EXPIRY} | {name: settings.pop(name) for name in OF_FSSPEC & settings.keys()}
        super().__init__(asynchronous=asynchronous, loop=loop, batch_size=batch_size, **own)
        self._target = target_protocol
        self.origins = Origins(target_protocol, target_options or {})
        store = "" if store is None else store
        if store not in STORES:
            raise BadValue(f"store: {store!r} is not {' or '.join(map(repr, STORES[1:]))}")
        self._client = dfengine.Client.configured(**{"quiet": True, **settings})
        self._store = store
        self._files = OpenFiles(self._begin)

    # Names.

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        """The path. A slash at its end is part of its name, unless its origin has directories."""
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        path = os.fspath(path) if isinstance(path, os.PathLike) else path
        if not isinstance(path, str):
            raise BadValue(f"path: {type(path).__name__} is given, not a URL as text")
        for prefix in PREFIXES:
            path = path.removeprefix(prefix)
        protocol, found, _ = path.partition("://")
        kind = ORIGINS.get(protocol)
        return path.rstrip("/") if not found or (kind is not None and kind.lists) else path

    def unstrip_protocol(self, name: str) -> str:
        """The path as a URL that fsspec opens with this file system."""
        name = self._strip_protocol(name)
        return f"df::{name if '://' in name else f'{self._target}://{name}'}"

    @classmethod
    def _parent(cls, path: str) -> str:
        path = cls._strip_protocol(path).rstrip("/")
        scheme, found, rest = path.partition("://") if "://" in path else ("", "", path)
        return f"{scheme}{found}{rest.rpartition('/')[0]}" if "/" in rest else ""

    @property
    def fsid(self) -> str:
        """See AbstractFileSystem."""
        return "df"

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop of blocking calls. A forked child needs a new one, since the thread of fsspec's own loop does not exist there."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._loop = None if self.asynchronous else get_loop()
        return self._loop

    # Calls that block.

    def _begin(self, path: str) -> Any:
        origin, url = self.origins.of(path)
        return self._client.open(url, store=self._store, **origin.settings)

    async def _call(self, path: str, call: Callable[[], T]) -> T:
        """Run `call` in a thread."""
        with _os_errors(path):
            return await threads.shared.run(call)

    def _described(self, path: str) -> dict[str, Any]:
        with self._files.use(path) as file:
            length, version = file.size, file.opened().version[1]
        return {"name": path, "size": length, "type": "file", "version": version.hex()}

    def _ranges(self, path: str, limits: list[tuple[int | None, int | None]]) -> list[bytes]:
        if any(each is not None and not hasattr(type(each), "__index__") for limit in limits for each in limit):
            raise BadValue("a range is of integers, start and end, or None")
        with self._files.use(path) as file:
            size = file.size if any(start is None or start < 0 or end is None or end < 0 for start, end in limits) else 0
            spans = []
            for start, end in limits:
                first = 0 if start is None else start if start >= 0 else max(0, size + start)
                past = size if end is None else end if end >= 0 else size + end
                spans.append((first, max(0, past - first)))
            return file.readv(spans)

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        path = self._strip_protocol(path)
        return (await self._call(path, lambda: self._ranges(path, [(start, end)])))[0]

    async def _cat_ranges(
        self, paths: list[str], starts: Any, ends: Any, max_gap: int | None = None, batch_size: int | None = None, on_error: str = "return",
        **kwargs: Any,
    ) -> list[Any]:
        """All ranges of a file are requested at once, so no gap is read: max_gap and batch_size have no effect."""
        if not isinstance(paths, list):
            raise TypeError(f"paths is {type(paths).__name__}, not a list")
        limits = [[each] * len(paths) if each is None or isinstance(each, int) else [*each] for each in (starts, ends)]
        if any(len(each) != len(paths) for each in limits):
            raise ValueError(f"{len(paths)} paths, {len(limits[0])} starts and {len(limits[1])} ends")
        wanted: dict[str, list[int]] = {}
        for at, path in enumerate(paths):
            wanted.setdefault(self._strip_protocol(path), []).append(at)

        async def read(path: str, places: list[int]) -> list[bytes]:
            return await self._call(path, lambda: self._ranges(path, [(limits[0][at], limits[1][at]) for at in places]))

        out: list[Any] = [None] * len(paths)
        answers = await asyncio.gather(*[read(path, places) for path, places in wanted.items()], return_exceptions=True)
        for places, answer in zip(wanted.values(), answers, strict=True):
            if isinstance(answer, BaseException) and (on_error != "return" or not isinstance(answer, Exception)):
                raise answer
            for i, at in enumerate(places):
                out[at] = answer if isinstance(answer, BaseException) else answer[i]
        return out

    async def _info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        if self.origins.of(path)[0].lists:
            listed = self.dircache.get(self._parent(path), [])
            known = [each for each in listed if each["name"] == path]
            if known and known[0]["size"] is not None:
                return dict(known[0])
            if await self._directory(path):
                return {"name": path, "size": 0, "type": "directory"}
        return await self._call(path, lambda: self._described(path))

    async def _exists(self, path: str, **kwargs: Any) -> bool:
        """False if the origin responds that there is no such file. Other errors are raised, since they leave it undecided."""
        try:
            await self._info(path)
        except FileNotFoundError:
            return False
        return True

    async def _isfile(self, path: str) -> bool:
        try:
            return bool((await self._info(path))["type"] == "file")
        except FileNotFoundError:
            return False

    async def _isdir(self, path: str) -> bool:
        path = self._strip_protocol(path)
        try:
            return self.origins.of(path)[0].lists and bool((await self._info(path))["type"] == "directory")
        except (FileNotFoundError, BadValue):
            return False

    async def _directory(self, path: str, refresh: bool = False) -> list[Description]:
        """The entries of a directory; [] if it is not a directory."""
        if refresh or path not in self.dircache:
            origin, url = self.origins.of(path)

            def listing() -> list[tuple[str, list[Description]]]:
                settings = self._client.settings(f"{url}/-", None, cast("Any", origin.settings))  # equal for all files there
                return list(directories(path, origin.files(url, settings)))

            try:
                found = await self._call(path, listing)
            except FileNotFoundError:
                found = []
            for name, inside in found:
                if inside:
                    self.dircache[name] = inside
            return next((inside for name, inside in found if name == path), [])
        return [dict(each) for each in self.dircache[path]]

    async def _ls(self, path: str, detail: bool = True, refresh: bool = False, **kwargs: Any) -> list[Any]:
        path = self._strip_protocol(path)
        found = await self._directory(path, refresh)
        if not found:
            found = [await self._call(path, lambda: self._described(path))]
        return found if detail else sorted(each["name"] for each in found)

    async def _find(self, path: str, maxdepth: int | None = None, withdirs: bool = False, **kwargs: Any) -> Any:
        path = self._strip_protocol(path)
        if self.origins.of(path)[0].lists:
            return await super()._find(path, maxdepth=maxdepth, withdirs=withdirs, **kwargs)
        # Without listings a path can only be a file.
        found = {path: await self._info(path)} if await self._exists(path) else {}
        return found if kwargs.get("detail") else list(found)

    async def _glob(self, path: str, maxdepth: int | None = None, **kwargs: Any) -> Any:
        path = self._strip_protocol(path)
        origin = self.origins.of(path)[0]
        if origin.lists or not has_magic(path):
            return await super()._glob(path, maxdepth=maxdepth, **kwargs)
        if not await self._exists(path):  # the question mark of a query is not a pattern
            raise NotImplementedError(f"{origin.protocol} has no listing, so df finds nothing like {path}: name each file")
        return {path: await self._info(path)} if kwargs.get("detail") else [path]

    async def _get_file(self, rpath: str, lpath: Any, callback: Any = DEFAULT_CALLBACK, **kwargs: Any) -> None:
        """Use `dfengine.Client.get`: directly to the disk, over all connections, without memory for the file."""
        rpath = self._strip_protocol(rpath)
        if await self._isdir(rpath):
            os.makedirs(lpath, exist_ok=True)
            return
        size = await self._call(rpath, lambda: self._fetch(rpath, lpath, callback))
        callback.set_size(size)
        callback.absolute_update(size)

    def _fetch(self, path: str, output: Any, callback: Any) -> int:
        if isfilelike(output):
            with self._open(path) as file:
                shutil.copyfileobj(file, output, 1 << 20)
                return file.size
        origin, url = self.origins.of(path)
        output = os.fspath(output)
        os.makedirs(os.path.dirname(output) or ".", exist_ok=True)

        def tell(progress: dfengine.Progress) -> None:
            callback.set_size(progress.length if progress.length >= 0 else None)
            callback.absolute_update(progress.done)

        return self._client.get(url, output, progress=tell, **origin.settings).length

    # Files.

    def _open(
        self, path: str, mode: str = "rb", block_size: int | None = None, autocommit: bool = True, cache_options: Any = None, **kwargs: Any
    ) -> Reader:
        """block_size: bytes of the buffer for small reads. The other options are for file systems with a block cache of their own."""
        if mode != "rb":
            refuse(f"open with mode {mode!r}", path)
        path = self._strip_protocol(path)
        buffer = BUFFER if not isinstance(block_size, int) or block_size <= 0 else min(block_size, MAX_BUFFER)
        with _os_errors(path):
            return Reader(self, path, Position(self._files, path), buffer)

    def invalidate_cache(self, path: str | None = None) -> None:
        """Make later reads of the path (None: all paths) open it again."""
        self._files.forget(None if path is None else self._strip_protocol(path))
        self.dircache.clear()
        super().invalidate_cache(path)


@contextlib.contextmanager
def _os_errors(path: str) -> Iterator[None]:
    """Raise the OSError subclass that corresponds to an origin's refusal."""
    try:
        yield
    except OriginError as error:
        if error.status in ABSENT:
            raise FileNotFoundError(errno.ENOENT, str(error), path) from error
        if error.status in REFUSED:
            raise PermissionError(errno.EACCES, str(error), path) from error
        raise
