"""The client for programs as coroutines, for asyncio and uvloop; docs/python.md explains it.

    import dfengine.aio
    result = await dfengine.aio.get("http://origin/file", "file", nodes=["supernode:8002"])
"""

from __future__ import annotations

from dfengine.programs.async_file import File
from dfengine.programs.async_handle import Download, Preheat, TreeDownload
from dfengine.programs.async_stream import Reader
from dfengine.programs.coroutines import Client, download, download_tree, fetch_tree, get, open, preheat, share, stream

__all__ = [
    "Client", "Download", "File", "Preheat", "Reader", "TreeDownload",
    "download", "download_tree", "fetch_tree", "get", "open", "preheat", "share", "stream",
]  # fmt: skip
