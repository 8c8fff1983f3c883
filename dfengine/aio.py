"""The client for programs as coroutines, for asyncio and uvloop; docs/python.md explains it.

    import dfengine.aio
    result = await dfengine.aio.get("http://origin/file", "file", nodes=["supernode:8002"])
"""

from __future__ import annotations

from dfengine.programs.async_file import File
from dfengine.programs.coroutines import Client, Download, Preheat, Reader, download, get, open, preheat, stream

__all__ = ["Client", "Download", "File", "Preheat", "Reader", "download", "get", "open", "preheat", "stream"]
