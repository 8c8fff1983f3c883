"""Errors of a read-only file system for calls that would change something; they name the path.

fsspec itself raises an empty NotImplementedError, or, for directories, does nothing, so that a program would take them for created.
"""

from __future__ import annotations

import os
from typing import Any, NoReturn

SHOWN = 3
"""Maximum number of a list's paths in a message."""


class ReadOnly:
    """Mixin before fsspec's classes. Every method raises NotImplementedError."""

    async def _rm(self, path: Any, recursive: bool = False, batch_size: int | None = None, **kwargs: Any) -> None:
        refuse("remove", path)

    async def _rm_file(self, path: Any, **kwargs: Any) -> None:
        refuse("remove", path)

    def rm_file(self, path: Any) -> None:
        """Refused."""
        refuse("remove", path)

    def rmdir(self, path: Any) -> None:
        """Refused."""
        refuse("remove", path)

    async def _mkdir(self, path: Any, create_parents: bool = True, **kwargs: Any) -> None:
        refuse("make the directory", path)

    async def _makedirs(self, path: Any, exist_ok: bool = False) -> None:
        refuse("make the directory", path)

    def touch(self, path: Any, truncate: bool = True, **kwargs: Any) -> None:
        """Refused."""
        refuse("write", path)

    async def _pipe(self, path: Any, value: Any = None, batch_size: int | None = None, **kwargs: Any) -> None:
        refuse("write", list(path) if isinstance(path, dict) else path)

    async def _pipe_file(self, path: Any, value: Any, mode: str = "overwrite", **kwargs: Any) -> None:
        refuse("write", path)

    async def _put(self, lpath: Any, rpath: Any, recursive: bool = False, **kwargs: Any) -> None:
        refuse("write", rpath)

    async def _put_file(self, lpath: Any, rpath: Any, mode: str = "overwrite", **kwargs: Any) -> None:
        refuse("write", rpath)

    async def _copy(self, path1: Any, path2: Any, recursive: bool = False, **kwargs: Any) -> None:
        refuse("write", path2)

    async def _cp_file(self, path1: Any, path2: Any, **kwargs: Any) -> None:
        refuse("write", path2)

    def mv(self, path1: Any, path2: Any, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any) -> None:
        """Refused."""
        refuse("move", path1)

    async def open_async(self, path: Any, mode: str = "rb", **kwargs: Any) -> NoReturn:
        """Refused."""
        if mode != "rb":
            refuse("write", path)
        raise NotImplementedError(
            f"df has no asynchronous files: read {_named(path)} by _cat_ranges, or use dfengine.aio.open"
        )

    def sign(self, path: Any, expiration: int = 100, **kwargs: Any) -> NoReturn:
        """Refused."""
        raise NotImplementedError(f"df cannot sign {_named(path)}: its origin's own file system may")

    def created(self, path: Any) -> NoReturn:
        """Refused."""
        raise NotImplementedError(f"df does not know when {_named(path)} was created: `version` of info(path) identifies its content")

    def modified(self, path: Any) -> NoReturn:
        """Refused."""
        raise NotImplementedError(f"df does not know when {_named(path)} was changed: `version` of info(path) identifies its content")


def refuse(what: str, path: Any) -> NoReturn:
    """Raise NotImplementedError. what: the action that is impossible for `path`, which may be a list."""
    raise NotImplementedError(f"df is read-only: it cannot {what} {_named(path)}")


def _named(path: Any) -> str:
    if isinstance(path, list | tuple):
        named = ", ".join(map(_named, path[:SHOWN]))
        return named + (f" and {len(path) - SHOWN} more" if len(path) > SHOWN else "")
    return os.fspath(path) if isinstance(path, os.PathLike) else str(path)
