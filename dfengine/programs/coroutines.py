"""The client for asyncio: runs the work in its own threads, without the loop's executor; `async_handle` states the rule of cancellation."""

from __future__ import annotations

from dfengine.programs import client
from dfengine.programs.async_file import File
from dfengine.programs.async_handle import Awaited, Download, LoopCallback, Preheat, TreeDownload, started
from dfengine.programs.async_stream import Reader
from dfengine.programs.client import TTL
from dfengine.programs.loop_threads import in_thread, shielded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Self, Unpack

    from dfengine.app.keywords import Keywords, Path
    from dfengine.client import Result
    from dfengine.client.sharing import Sharing
    from dfengine.client.tree_fetch import TreeResult
    from dfengine.programs.client import Patterns
    from dfengine.programs.progress import ProgressCallback


class Client:
    """See programs.client.Client; the keywords are the same. Use it as an asynchronous context manager, or `close` it."""

    def __init__(self, **settings: Unpack[Keywords]) -> None:
        self._client = client.Client(**settings)

    @classmethod
    def configured(cls, **settings: Unpack[Keywords]) -> Self:
        """See programs.client.Client."""
        made = cls()
        made._client = client.Client.configured(**settings)
        return made

    async def get(self, url: str, output: Path, *, progress: ProgressCallback | None = None, **settings: Unpack[Keywords]) -> Result:
        """See programs.client.Client. progress: called by the loop. A cancel is raised here after the download has ended."""
        return await self._begin(url, output, progress, settings).wait_or_cancel()

    async def download(self, url: str, output: Path, *, progress: ProgressCallback | None = None, **settings: Unpack[Keywords]) -> Download:
        """Start a download; the result can be awaited and cancelled. progress: called by the loop."""
        return self._begin(url, output, progress, settings)

    async def fetch_tree(
        self, url: str, directory: Path, *, include: Patterns = (), exclude: Patterns = (), progress: ProgressCallback | None = None,
        **settings: Unpack[Keywords],
    ) -> TreeResult:  # fmt: skip
        """See programs.client.Client. progress: called by the loop. A cancel is raised here after the download has ended."""
        return await self._begin_tree(url, directory, progress, {"include": include, "exclude": exclude, **settings}).wait_or_cancel()

    async def download_tree(
        self, url: str, directory: Path, *, include: Patterns = (), exclude: Patterns = (), progress: ProgressCallback | None = None,
        **settings: Unpack[Keywords],
    ) -> TreeDownload:  # fmt: skip
        """Start a download of a directory; the result can be awaited and cancelled. progress: called by the loop."""
        return self._begin_tree(url, directory, progress, {"include": include, "exclude": exclude, **settings})

    def stream(self, url: str, *, progress: ProgressCallback | None = None, **settings: Unpack[Keywords]) -> Reader:
        """Stream `url`; see Reader. The first read starts it. progress: called by the loop; a read raises the exceptions of `progress`."""
        self._client.settings(url, None, settings)  # raises errors in the settings now
        on_progress = LoopCallback(progress) if progress is not None else None
        return Reader(lambda: self._client.stream(url, progress=on_progress, **settings))

    async def open(self, url: str, *, store: str = "", **settings: Unpack[Keywords]) -> File:
        """Open `url` as a seekable file; its pieces are fetched when they are read. See File, and programs.client.Client."""
        return await File(self._client.file(url, store=store, **settings)).opened()

    async def preheat(self, url: str, **settings: Unpack[Keywords]) -> Preheat:
        """See programs.client.Client; the result can be awaited."""
        return Preheat(self._client.preheat(url, **settings))

    async def share(self, path: Path, *, replicas: int = 0, ttl: float | str = TTL, **settings: Unpack[Keywords]) -> Sharing:
        """See programs.client.Client. A cancel is raised here after the share has been withdrawn."""
        return await Awaited(self._client.sharing(path, replicas, ttl, settings).start()).wait_or_cancel()

    def _begin(self, url: str, output: Path, progress: ProgressCallback | None, settings: Keywords) -> Download:
        return started(lambda on_progress: self._client.download(url, output, progress=on_progress, **settings), progress, Download)

    def _begin_tree(self, url: str, directory: Path, progress: ProgressCallback | None, given: dict[str, Any]) -> TreeDownload:
        def begin(on_progress: ProgressCallback | None) -> Any:
            return self._client.download_tree(url, directory, progress=on_progress, **given)

        return started(begin, progress, TreeDownload)

    def cancel(self) -> None:
        """See programs.client.Client."""
        self._client.cancel()

    async def close(self) -> None:
        """Cancel all running work, and wait until it has ended."""
        await shielded(in_thread(self._client.close))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()


async def get(url: str, output: Path, *, progress: ProgressCallback | None = None, **settings: Unpack[Keywords]) -> Result:
    """As `dfengine.get`, with the settings of configuration files and the environment; see Client.get."""
    return await Client.configured().get(url, output, progress=progress, **settings)


async def download(url: str, output: Path, *, progress: ProgressCallback | None = None, **settings: Unpack[Keywords]) -> Download:
    """As `dfengine.download`; see Client.download."""
    return await Client.configured().download(url, output, progress=progress, **settings)


async def fetch_tree(
    url: str, directory: Path, *, include: Patterns = (), exclude: Patterns = (), progress: ProgressCallback | None = None,
    **settings: Unpack[Keywords],
) -> TreeResult:
    """As `dfengine.fetch_tree`; see Client.fetch_tree."""
    client = Client.configured()
    return await client.fetch_tree(url, directory, include=include, exclude=exclude, progress=progress, **settings)


async def download_tree(
    url: str, directory: Path, *, include: Patterns = (), exclude: Patterns = (), progress: ProgressCallback | None = None,
    **settings: Unpack[Keywords],
) -> TreeDownload:
    """As `dfengine.download_tree`; see Client.download_tree."""
    client = Client.configured()
    return await client.download_tree(url, directory, include=include, exclude=exclude, progress=progress, **settings)


def stream(url: str, *, progress: ProgressCallback | None = None, **settings: Unpack[Keywords]) -> Reader:
    """As `dfengine.stream`; see Client.stream."""
    return Client.configured().stream(url, progress=progress, **settings)


async def open(url: str, *, store: str = "", **settings: Unpack[Keywords]) -> File:
    """As `dfengine.open`; see Client.open."""
    return await Client.configured().open(url, store=store, **settings)


async def preheat(url: str, **settings: Unpack[Keywords]) -> Preheat:
    """As `dfengine.preheat`; see Client.preheat."""
    return await Client.configured().preheat(url, **settings)


async def share(path: Path, *, replicas: int = 0, ttl: float | str = TTL, **settings: Unpack[Keywords]) -> Sharing:
    """As `dfengine.share`; see Client.share."""
    return await Client.configured().share(path, replicas=replicas, ttl=ttl, **settings)
