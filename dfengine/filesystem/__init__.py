"""dfengine as an fsspec file system: programs that use fsspec read from the swarm (`df::https://host/file`). Needs the extra `fsspec`.

    file_system  the file system, registered as `df` under the entry point `fsspec.specs`
    protocols    protocols that may follow `df::`, and how their files are named and listed
    listings     directories, made from an origin's list of files
    open_files   the open files of a file system, each opened once
    threads      threads for blocking calls
    read_only    errors of calls that would write
    reader       a position and a buffer for one reader of an open file

Start with `file_system`. Only fsspec and programs that use it import this package.
"""

from __future__ import annotations

from dfengine.filesystem.file_system import FileSystem

__all__ = ["FileSystem"]
