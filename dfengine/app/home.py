"""Where the home directory of a program's option or keyword is."""

from __future__ import annotations

import os

from dfengine.errors import StorageError


def found(path: str, instead: str) -> str:
    """`path` with ~ as the user's home directory. instead: what names another one. Raises StorageError where nobody knows that."""
    there = os.path.expanduser(path)
    if there.startswith("~"):
        raise StorageError(f"no home directory is known for {path}: set HOME, or use {instead}")
    return there


def unknown() -> bool:
    """Neither HOME nor the user database says where the user's home directory is."""
    return os.path.expanduser("~").startswith("~")
