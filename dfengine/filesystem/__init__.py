"""dfengine as an fsspec file system: whatever reads by fsspec reads from the swarm (`df::https://host/file`). Needs the extra `fsspec`.

    file_system  the file system, registered as `df` under the entry point `fsspec.specs`
    origins      which protocols may follow `df::`, and how their files are named and listed
    listings     directories, made of an origin's list of files
    open_files   the files of a file system that are open, each once
    threads      threads for calls that wait
    read_only    the errors of calls that would write
    reader       a position and a buffer over one of them

Start with `file_system`. Only fsspec and programs that use it import this package.
"""

from __future__ import annotations

from dfengine.filesystem.file_system import FileSystem

__all__ = ["FileSystem"]
